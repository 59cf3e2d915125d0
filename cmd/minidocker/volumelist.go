package main

import (
	"net/http"

	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

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
	f := &listFlags{}
	c := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List volumes", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			p, q, err := f.read("{{.Name}}", "{{.Driver}}\t{{.Name}}")
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				var list volume.ListResponse
				if err := a.api(e).get("/volumes", q, &list); err != nil {
					return err
				}
				for _, w := range list.Warnings {
					say(a.stderr, "WARNING: %s", w)
				}
				rows := make([]any, len(list.Volumes))
				for i := range list.Volumes {
					rows[i] = newVolumeRow(&list.Volumes[i])
				}
				return p.print(a.stdout, volumeHeadings, rows)
			})
		},
	}
	f.add(c, "Only display volume names", "Provide filter values: name=, label=name[=value], driver=, dangling=true|false")
	return c
}

func newVolumeRow(v *volume.Volume) volumeRow {
	return volumeRow{
		Availability: "N/A", Driver: v.Driver, Group: "N/A", labels: v.Labels, Labels: labelColumn(v.Labels), Links: "N/A",
		Mountpoint: v.Mountpoint, Name: v.Name, Scope: v.Scope, Size: "N/A", Status: "N/A",
	}
}

func (a *app) volumePruneCommand() *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused local volumes", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Remove the volumes that no container names: those that were made without a name, or all.",
		RunE: func(*cobra.Command, []string) error {
			if all {
				filters = append(filters, "all=true")
			}
			q, err := filterQuery(filters)
			if err != nil {
				return err
			}
			what := "anonymous local volumes not used by at least one container"
			if all {
				what = "all local volumes not used by at least one container"
			}
			if !force && !a.confirm("WARNING! This will remove "+what+".") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error {
				var removed volume.PruneReport
				err := a.api(e).call(http.MethodPost, "/volumes/prune", q, &removed)
				if err != nil {
					return err
				}
				a.sayRemoved("Volumes", removed.VolumesDeleted)
				a.sayReclaimed(removed.SpaceReclaimed)
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: label=name[=value], label!=name[=value], all=true")
	return c
}
