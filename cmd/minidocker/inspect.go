package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// A kind is what inspect can show: of a name, the first one that has it.
type kind struct {
	name  string
	path  func(name string) string
	typed func() any // what templates see first
}

var kinds = []kind{
	{"container", func(name string) string { return "/containers/" + url.PathEscape(name) + "/json" }, func() any { return &container.InspectResponse{} }},
	{"image", func(name string) string { return "/images/" + escapeName(name) + "/json" }, func() any { return &image.InspectResponse{} }},
	{"network", func(name string) string { return "/networks/" + url.PathEscape(name) }, func() any { return &network.Inspect{} }},
	{"volume", func(name string) string { return "/volumes/" + url.PathEscape(name) }, func() any { return &volume.Volume{} }},
}

// escapeName escapes a name that has slashes of its own.
func escapeName(name string) string { return strings.ReplaceAll(url.PathEscape(name), "%2F", "/") }

func kindsNamed(name string) ([]kind, error) {
	for i := range kinds {
		if kinds[i].name == name {
			return kinds[i : i+1], nil
		}
	}
	return nil, fmt.Errorf("%q is not a valid value for --type: it is one of container, image, network, volume", name)
}

// A document is what the API says of something.
type document struct {
	raw   json.RawMessage
	typed any
}

func (a *app) inspectCommand() *cobra.Command {
	c := a.inspects("inspect [OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on containers, images, networks and volumes, as Docker's API has it", "")
	c.Flags().String("type", "", "Only return JSON for this type: container, image, network or volume")
	return c
}

// inspects makes a command that shows documents of a kind, or of all kinds.
func (a *app) inspects(use, short, of string) *cobra.Command {
	var format, platform string
	var size bool
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(1), DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error {
			only, wanted := of, kinds
			if f := c.Flags().Lookup("type"); f != nil {
				only = f.Value.String()
			}
			if only != "" {
				var err error
				if wanted, err = kindsNamed(only); err != nil {
					return err
				}
			}
			q := make(url.Values)
			if size {
				q.Set("size", "1")
			}
			if platform != "" {
				q.Set("platform", platform)
			}
			return a.withEngine(func(e *engine.Engine) error {
				var list []document
				err := a.each(args, func(name string) error {
					d, err := a.document(e, wanted, name, q)
					if errors.Is(err, fs.ErrNotExist) && len(wanted) > 1 {
						return &engine.Error{Kind: engine.NotFound, Message: "No such object: " + name}
					}
					if err == nil {
						list = append(list, *d)
					}
					return err
				})
				return errors.Join(a.printDocuments(format, list), err)
			})
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output by a Go template, or \"json\"")
	switch of {
	case "image":
		c.Flags().StringVar(&platform, "platform", "", "Inspect a specific platform of the multi-platform image (os/arch[/variant])")
	case "network":
		c.Flags().BoolP("verbose", "v", false, "Verbose output for diagnostics: there is no more of a network that is local")
	}
	if of == "" || of == "container" {
		c.Flags().BoolVarP(&size, "size", "s", false, "Display total file sizes if the type is container")
	}
	return c
}

// document asks for what the API says of a name.
func (a *app) document(e *engine.Engine, wanted []kind, name string, q url.Values) (*document, error) {
	if name == "" { // a path without a name leads to a list
		return nil, &engine.Error{Kind: engine.NotFound, Message: "No such object: the name is empty"}
	}
	var err error
	for _, k := range wanted {
		d := &document{typed: k.typed()}
		if err = a.api(e).get(k.path(name), q, &d.raw); err == nil {
			return d, json.Unmarshal(d.raw, d.typed)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, err
}

// printDocuments prints documents as a JSON array, or each by a template.
func (a *app) printDocuments(format string, list []document) error {
	if format == "" {
		all := make([]json.RawMessage, len(list))
		for i := range list {
			all[i] = list[i].raw
		}
		b, err := json.MarshalIndent(all, "", "    ")
		if err != nil {
			return err
		}
		say(a.stdout, "%s", b)
		return nil
	}
	f, err := newFormatter(format)
	if err != nil {
		return err
	}
	for i := range list {
		if err := f.document(a.stdout, &list[i]); err != nil {
			return err
		}
	}
	return nil
}
