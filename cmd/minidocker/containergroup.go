package main

import (
	"net/http"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// containerCommands are the commands about containers that are there under their own names, and the group "container" that has them all.
func (a *app) containerCommands() []*cobra.Command {
	top := func() []*cobra.Command {
		return []*cobra.Command{
			a.attachCommand(), a.commitCommand(), a.cpCommand(), a.createCommand(), a.diffCommand(), a.execCommand(), a.exportCommand(), a.killCommand(),
			a.logsCommand(), a.pauseCommand(), a.portCommand(), a.renameCommand(), a.restartCommand(), a.rmCommand(), a.runCommand(), a.startCommand(),
			a.statsCommand(), a.stopCommand(), a.topCommand(), a.unpauseCommand(), a.updateCommand(), a.waitCommand(),
		}
	}
	group := group("container", "Manage containers")
	list := a.psCommand()
	list.Use, list.Aliases = "ls [OPTIONS]", []string{"list", "ps"}
	inspect := a.inspects("inspect [OPTIONS] CONTAINER [CONTAINER...]", "Display detailed information on one or more containers", "container")
	group.AddCommand(append(top(), list, inspect, a.containerPruneCommand())...)
	return append(top(), group, a.psCommand())
}

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use: "diff CONTAINER", Short: "Inspect changes to files or directories on a container's filesystem", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list, err := e.Changes(a.ctx, args[0])
				for _, c := range list {
					say(a.stdout, "%s %s", container.ChangeType(c.Kind), c.Path)
				}
				return err
			})
		},
	}
}

func (a *app) containerPruneCommand() *cobra.Command {
	var force bool
	var filters []string
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove all stopped containers", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			q, err := filterQuery(filters)
			if err != nil || !force && !a.confirm("WARNING! This will remove all stopped containers.") {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				var removed container.PruneReport
				if err := a.api(e).call(http.MethodPost, "/containers/prune", q, &removed); err != nil {
					return err
				}
				a.sayRemoved("Containers", removed.ContainersDeleted)
				a.sayReclaimed(removed.SpaceReclaimed)
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: until=<timestamp>, label=<key>[=<value>], label!=…")
	return c
}

// sayRemoved prints the names of what was removed.
func (a *app) sayRemoved(what string, names []string) {
	if len(names) == 0 {
		return
	}
	say(a.stdout, "Deleted %s:", what)
	for _, n := range names {
		say(a.stdout, "%s", n)
	}
	say(a.stdout, "")
}

func (a *app) sayReclaimed(bytes uint64) {
	say(a.stdout, "Total reclaimed space: %s", units.HumanSize(float64(bytes)))
}
