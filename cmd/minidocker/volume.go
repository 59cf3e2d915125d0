package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/volume"
)

func (a *app) volumeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "volume", Short: "Manage volumes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.volumeListCommand(), a.volumeCreateCommand(), a.volumeRemoveCommand(), a.volumeInspectCommand(),
		a.volumePruneCommand(), a.volumeCloneCommand(), a.volumeExportCommand(), a.volumeImportCommand())
	return c
}

func (a *app) volumeListCommand() *cobra.Command {
	var quiet bool
	var filters []string
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
					fits, err := volumeFits(e, v, filters)
					if err != nil {
						return err
					}
					switch {
					case !fits:
					case quiet:
						fmt.Fprintln(w, v.Name)
					default:
						fmt.Fprintln(w, "local\t"+v.Name)
					}
				}
				return w.Flush()
			})
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	c.Flags().StringArrayVarP(&filters, "filter", "f", nil, "Provide filter values: name=, label=, driver=, dangling=true|false")
	return c
}

// volumeFits tells whether a volume fits the filters: all keys, and of each one of its values.
func volumeFits(e *engine.Engine, v volume.Volume, filters []string) (bool, error) {
	fits := make(map[string]bool)
	for _, f := range filters {
		key, value, _ := strings.Cut(f, "=")
		var one bool
		switch key {
		case "name":
			one = strings.Contains(v.Name, value)
		case "driver":
			one = value == "local"
		case "label":
			name, want, given := strings.Cut(value, "=")
			have, there := v.Labels[name]
			one = there && (!given || have == want)
		case "dangling":
			want, err := strconv.ParseBool(value)
			if err != nil {
				return false, fmt.Errorf("invalid filter 'dangling=%s'", value)
			}
			user, err := e.VolumeUser(v.Name)
			if err != nil {
				return false, err
			}
			one = want == (user == "")
		default:
			return false, fmt.Errorf("invalid filter '%s'", key)
		}
		fits[key] = fits[key] || one
	}
	for _, one := range fits {
		if !one {
			return false, nil
		}
	}
	return true, nil
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
	if f.driver != "local" {
		return nil, fmt.Errorf("error looking up volume plugin %s: plugin not found: %w", f.driver, volume.ErrDriver)
	}
	if len(f.labels)+len(f.options) == 0 {
		return nil, nil
	}
	o := &volume.CreateOptions{Labels: make(map[string]string)}
	for _, l := range f.labels {
		name, value, _ := strings.Cut(l, "=")
		o.Labels[name] = value
	}
	mount := make(map[string]string)
	for _, option := range f.options {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "size":
			size, err := units.RAMInBytes(value)
			if err != nil || size <= 0 {
				return nil, fmt.Errorf("invalid size: '%s'", value)
			}
			o.Size = size
		case "type", "o", "device":
			mount[name] = value
		default:
			return nil, fmt.Errorf("invalid option: %q", name)
		}
	}
	var err error
	o.Mount, err = volume.NewMount(mount["type"], mount["o"], mount["device"])
	return o, err
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
	if o.Size == 0 {
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

func (a *app) volumePruneCommand() *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused local volumes", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Remove the volumes that no container names: those that were made without a name, or all.",
		RunE: func(*cobra.Command, []string) error {
			what := "anonymous local volumes not used by at least one container"
			if all {
				what = "all local volumes not used by at least one container"
			}
			if !force && !a.confirm("WARNING! This will remove "+what+".") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error {
				var wrong error
				keep := func(v volume.Volume) bool {
					fits, err := volumeFits(e, v, filters)
					wrong = errors.Join(wrong, err)
					return !fits
				}
				removed, err := e.PruneVolumes(a.ctx, &volume.PruneOptions{All: all, Keep: keep})
				if len(removed) > 0 {
					say(a.stdout, "Deleted Volumes:")
				}
				for _, v := range removed {
					say(a.stdout, "%s", v.Name)
				}
				return errors.Join(wrong, err)
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: name=, label=")
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
	Options    map[string]string
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
						var options map[string]string
						if v.Size > 0 {
							options = map[string]string{"size": strconv.FormatInt(v.Size, 10)}
						}
						if m := v.Mount; m != nil {
							options = map[string]string{"type": m.Type, "o": m.Options, "device": m.Device}
						}
						list = append(list, volumeView{v.Created, "local", v.Labels, v.Path, v.Name, options, "local"})
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
