package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

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

// A volumeRow is a volume in a list, for templates.
type volumeRow struct {
	Availability, Driver, Group string
	labels                      map[string]string
	Labels, Links, Mountpoint   string
	Name, Scope, Size, Status   string
}

// Label returns the value of a label.
func (r volumeRow) Label(name string) string { return r.labels[name] }

var volumeHeadings = volumeRow{
	Availability: "AVAILABILITY", Driver: "DRIVER", Group: "GROUP", Labels: "LABELS", Links: "LINKS", Mountpoint: "MOUNTPOINT", Name: "VOLUME NAME",
	Scope: "SCOPE", Size: "SIZE", Status: "STATUS",
}

func (a *app) volumeListCommand() *cobra.Command {
	var quiet bool
	var format string
	var filters []string
	c := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List volumes", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case quiet && format == "":
				format = "{{.Name}}"
			case format == "" || format == "table":
				format = "table {{.Driver}}\t{{.Name}}"
			}
			p, err := newFormatter(format)
			if err != nil {
				return err
			}
			filter, err := parseVolumeFilters(filters, "name", "driver", "label", "dangling")
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				list, err := e.Volumes().List()
				if err != nil {
					return err
				}
				var rows []any
				for _, v := range list {
					fits, err := filter.fits(e, &v)
					if err != nil {
						return err
					}
					if fits {
						rows = append(rows, newVolumeRow(&v))
					}
				}
				return p.print(a.stdout, volumeHeadings, rows)
			})
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	c.Flags().StringVar(&format, "format", "", "Format output by a Go template: 'table', 'table TEMPLATE', 'json' or a TEMPLATE")
	c.Flags().StringArrayVarP(&filters, "filter", "f", nil, "Provide filter values: name=, label=name[=value], driver=, dangling=true|false")
	return c
}

func newVolumeRow(v *volume.Volume) volumeRow {
	d := newVolumeDocument(v)
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(d.Labels)) {
		labels = append(labels, name+"="+d.Labels[name])
	}
	return volumeRow{
		Availability: "N/A", Driver: d.Driver, Group: "N/A", labels: d.Labels, Labels: strings.Join(labels, ","), Links: "N/A",
		Mountpoint: d.Mountpoint, Name: d.Name, Scope: d.Scope, Size: "N/A", Status: "N/A",
	}
}

// A volumeFilter is what a volume has to fit: all keys, and of each one of its values, but none of those that end in "!".
type volumeFilter map[string][]string

func parseVolumeFilters(list []string, known ...string) (volumeFilter, error) {
	f := make(volumeFilter)
	for _, text := range list {
		key, value, given := strings.Cut(text, "=")
		if !given {
			return nil, fmt.Errorf("invalid argument %q for \"--filter\" flag: invalid filter '%s'", text, text)
		}
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("invalid filter '%s'", key)
		}
		if key == "dangling" || key == "all" {
			if _, err := strconv.ParseBool(value); err != nil {
				return nil, fmt.Errorf("invalid filter '%s=%s'", key, value)
			}
		}
		f[key] = append(f[key], value)
	}
	return f, nil
}

func (f volumeFilter) fits(e *engine.Engine, v *volume.Volume) (bool, error) {
	d := newVolumeDocument(v)
	labelled := func(value string) bool {
		name, want, given := strings.Cut(value, "=")
		have, there := d.Labels[name]
		return there && (!given || have == want)
	}
	for key, values := range f {
		var err error
		one := slices.ContainsFunc(values, func(value string) bool {
			switch key {
			case "name":
				return strings.Contains(v.Name, value)
			case "driver":
				return value == d.Driver
			case "label":
				return labelled(value)
			case "label!":
				return !labelled(value)
			case "dangling":
				want, _ := strconv.ParseBool(value)
				user, e := e.VolumeUser(v.Name)
				err = errors.Join(err, e)
				return want == (user == "")
			}
			return true
		})
		if err != nil || !one {
			return false, err
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

func (a *app) volumePruneCommand() *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused local volumes", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Remove the volumes that no container names: those that were made without a name, or all.",
		RunE: func(*cobra.Command, []string) error {
			filter, err := parseVolumeFilters(filters, "name", "label", "label!", "all")
			if err != nil {
				return err
			}
			if values := filter["all"]; len(values) > 0 {
				if all {
					return errors.New("conflicting options: cannot specify both --all and --filter all=1")
				}
				all, _ = strconv.ParseBool(values[0])
			}
			what := "anonymous local volumes not used by at least one container"
			if all {
				what = "all local volumes not used by at least one container"
			}
			if !force && !a.confirm("WARNING! This will remove "+what+".") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error {
				var wrong error
				sizes := make(map[string]int64)
				keep := func(v volume.Volume) bool {
					fits, err := filter.fits(e, &v)
					if fits && err == nil {
						sizes[v.Name], err = e.VolumeSize(a.ctx, v.Name)
					}
					wrong = errors.Join(wrong, err)
					return !fits
				}
				removed, err := e.PruneVolumes(a.ctx, &volume.PruneOptions{All: all, Keep: keep})
				var size int64
				if len(removed) > 0 {
					say(a.stdout, "Deleted Volumes:")
				}
				for _, v := range removed {
					say(a.stdout, "%s", v.Name)
					size += sizes[v.Name]
				}
				if len(removed) > 0 {
					say(a.stdout, "")
				}
				say(a.stdout, "Total reclaimed space: %s", units.HumanSize(float64(size)))
				return errors.Join(wrong, err)
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: label=name[=value], label!=name[=value], all=true, name=")
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

func (a *app) volumeInspectCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "inspect [OPTIONS] VOLUME [VOLUME...]", Short: "Display detailed information on one or more volumes", Args: cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list := []any{}
				err := a.each(args, func(name string) error {
					v, err := e.Volumes().Get(name)
					if err == nil {
						list = append(list, newVolumeDocument(&v))
					}
					return err
				})
				return errors.Join(a.printDocuments(format, list), err)
			})
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output by a Go template, or 'json'")
	return c
}
