package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

// completes is what a shell's completion offers as arguments: names of what the command's usage says.
func (a *app) completes(c *cobra.Command) cobra.CompletionFunc {
	type kind struct {
		word  string
		names func(*engine.Engine) ([]string, error)
	}
	for _, word := range strings.Fields(c.Use) {
		all := []kind{{"IMAGE", a.imageNames}, {"CONTAINER", a.containerNames}, {"NETWORK", a.networkNames}, {"VOLUME", a.volumeNames}}
		i := slices.IndexFunc(all, func(k kind) bool { return k.word == word })
		if i < 0 {
			continue
		}
		names := all[i].names
		return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 && !strings.Contains(c.Use, "["+word+"...]") {
				return nil, cobra.ShellCompDirectiveDefault // files: what a command in a container is given, say
			}
			var offered []string
			err := a.withEngine(func(e *engine.Engine) (err error) {
				offered, err = names(e)
				return err
			})
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return offered, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil
}

func (a *app) containerNames(e *engine.Engine) (names []string, err error) {
	list, err := e.List(a.ctx)
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names, err
}

func (a *app) imageNames(e *engine.Engine) (names []string, err error) {
	list, err := e.SearchImages(a.ctx, nil)
	for _, img := range list {
		for _, n := range img.Names {
			names = append(names, registry.Familiar(n))
		}
	}
	return names, err
}

func (a *app) networkNames(e *engine.Engine) (names []string, err error) {
	list, err := e.ListNetworks(a.ctx)
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names, err
}

func (a *app) volumeNames(e *engine.Engine) (names []string, err error) {
	list, err := e.Volumes().List()
	for _, v := range list {
		names = append(names, v.Name)
	}
	return names, err
}
