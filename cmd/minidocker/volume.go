package main

import (
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/volume"
)

func (a *app) volumeCommand() *cobra.Command {
	c := group("volume", "Manage volumes")
	c.AddCommand(a.volumeListCommand(), a.volumeCreateCommand(), a.volumeRemoveCommand(), a.inspects("inspect [OPTIONS] VOLUME [VOLUME...]", "Display detailed information on one or more volumes", "volume"),
		a.volumePruneCommand(), a.volumeCloneCommand(), a.volumeExportCommand(), a.volumeImportCommand())
	return c
}

// volumeFlags are those of the commands that make a volume.
type volumeFlags struct {
	driver          string
	labels, options []string
}

func (f *volumeFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.driver, "driver", "d", "local", "Specify volume driver name: local is the only one")
	c.Flags().StringArrayVar(&f.labels, "label", nil, "Set metadata for a volume")
	c.Flags().StringArrayVarP(&f.options, "opt", "o", nil, "Set driver specific options: size=10G bounds the content, where the file system "+
		"has project quotas; type=none, o=bind and device=DIR, or type=tmpfs, device=tmpfs and o=size=64m,…, mount that in its place")
}

// parse returns nil if no flag says anything.
func (f *volumeFlags) parse() (*volume.CreateOptions, error) {
	o, err := engine.VolumeOptions(f.driver, f.labels, f.options)
	if err != nil || len(f.labels)+len(f.options) == 0 {
		return nil, err
	}
	return o, nil
}

func (a *app) volumeCreateCommand() *cobra.Command {
	f := &volumeFlags{}
	c := &cobra.Command{
		Use: "create [OPTIONS] [VOLUME]", Short: "Create a volume", Args: cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := f.parse()
			if err != nil {
				return err
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
	f.add(c)
	return c
}

// inherit gives a clone what no flag says.
func inherit(o *volume.CreateOptions, from volume.Volume) {
	if len(o.Labels) == 0 {
		o.Labels = from.Labels
	}
	if o.Size == 0 && o.Mount == nil {
		o.Size = from.Size
	}
}

func (a *app) volumeCloneCommand() *cobra.Command {
	f := &volumeFlags{}
	c := &cobra.Command{
		Use: "clone [OPTIONS] VOLUME NEW", Args: cobra.ExactArgs(2), DisableFlagsInUseLine: true,
		Short: "Create a volume with a copy of another one's content, sharing blocks where the file system can",
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := f.parse()
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				if o != nil {
					from, err := e.Volumes().Get(args[0])
					if err == nil {
						inherit(o, from)
					}
				}
				v, err := e.CloneVolume(a.ctx, args[0], args[1], o)
				if err == nil {
					say(a.stdout, "%s", v.Name)
				}
				return err
			})
		},
	}
	f.add(c)
	return c
}

func (a *app) volumeExportCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "export [OPTIONS] VOLUME", Short: "Write a volume's content as a tar archive (streamed to STDOUT by default)",
		Args: cobra.ExactArgs(1), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.output(output, func(w io.Writer) error { return e.ExportVolume(a.ctx, args[0], w) })
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return c
}

func (a *app) volumeImportCommand() *cobra.Command {
	f := &volumeFlags{}
	c := &cobra.Command{
		Use: "import [OPTIONS] VOLUME [FILE]", Short: "Create a volume with the content of a tar archive or STDIN",
		Args: cobra.RangeArgs(1, 2), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := f.parse()
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				return a.input(strings.Join(args[1:], ""), func(r io.Reader) error {
					v, err := e.ImportVolume(a.ctx, args[0], r, o)
					if err == nil {
						say(a.stdout, "%s", v.Name)
					}
					return err
				})
			})
		},
	}
	f.add(c)
	return c
}

func (a *app) volumeRemoveCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "rm [OPTIONS] VOLUME [VOLUME...]", Aliases: []string{"remove"}, Short: "Remove one or more volumes",
		Args: cobra.MinimumNArgs(1), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					err := e.RemoveVolume(a.ctx, name)
					if force && errors.Is(err, fs.ErrNotExist) {
						err = nil
					}
					if err == nil {
						say(a.stdout, "%s", name)
					}
					return err
				})
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "Say nothing of volumes that are not there. One in use stays")
	return c
}
