package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/volume"
)

func (a *app) volumeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "volume", Short: "Manage volumes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.volumeListCommand(), a.volumeCreateCommand(), a.volumeRemoveCommand(), a.volumeInspectCommand())
	return c
}

func (a *app) volumeListCommand() *cobra.Command {
	var quiet bool
	c := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List volumes", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list, err := e.Volumes().List()
				if err != nil {
					return err
				}
				w := table(a.stdout)
				if !quiet {
					fmt.Fprintln(w, "DRIVER\tVOLUME NAME")
				}
				for _, v := range list {
					if !quiet {
						fmt.Fprint(w, "local\t")
					}
					fmt.Fprintln(w, v.Name)
				}
				return w.Flush()
			})
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	return c
}

func (a *app) volumeCreateCommand() *cobra.Command {
	var labels []string
	c := &cobra.Command{
		Use: "create [OPTIONS] [VOLUME]", Short: "Create a volume", Args: cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			o := &volume.CreateOptions{}
			for _, l := range labels {
				name, value, _ := strings.Cut(l, "=")
				if o.Labels == nil {
					o.Labels = make(map[string]string)
				}
				o.Labels[name] = value
			}
			var name string
			if len(args) > 0 {
				name = args[0]
			}
			return a.withEngine(func(e *engine.Engine) error {
				name, err := e.CreateVolume(name, o)
				if err == nil {
					say(a.stdout, "%s", name)
				}
				return err
			})
		},
	}
	c.Flags().StringArrayVar(&labels, "label", nil, "Set metadata for a volume")
	return c
}

func (a *app) volumeRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm VOLUME [VOLUME...]", Aliases: []string{"remove"}, Short: "Remove one or more volumes",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					err := e.RemoveVolume(a.ctx, name)
					if err == nil {
						say(a.stdout, "%s", name)
					}
					return err
				})
			})
		},
	}
}

// A volumeView is a volume in the form in which Docker shows it.
type volumeView struct {
	CreatedAt  time.Time
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Scope      string
}

func (a *app) volumeInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect VOLUME [VOLUME...]", Short: "Print what is known of volumes, as JSON", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list := []volumeView{}
				err := a.each(args, func(name string) error {
					v, err := e.Volumes().Get(name)
					if err == nil {
						list = append(list, volumeView{v.Created, "local", v.Labels, v.Path, v.Name, "local"})
					}
					return err
				})
				if e := a.printJSON(list); e != nil {
					return e
				}
				return err
			})
		},
	}
}
