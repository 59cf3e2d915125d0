package main

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) systemPruneCommand() *cobra.Command {
	var all, force, volumes bool
	var filters []string
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused data", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			q, err := filterQuery(filters)
			if err != nil {
				return err
			}
			images, err := filterQuery(append(filters, "dangling="+map[bool]string{true: "false", false: "true"}[all]))
			if err != nil {
				return err
			}
			if volumes && slices.ContainsFunc(filters, func(f string) bool { return strings.HasPrefix(f, "until=") }) {
				return errors.New(`the filter "until" is not supported with --volumes`) // before anything is removed
			}
			what := []string{"all stopped containers", "all networks not used by at least one container"}
			if volumes {
				what = append(what, "all anonymous volumes not used by at least one container")
			}
			if all {
				what = append(what, "all images without at least one container associated to them")
			} else {
				what = append(what, "all dangling images")
			}
			if !force && !a.confirm("WARNING! This will remove:\n  - "+strings.Join(what, "\n  - ")+"\n") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error { return a.prune(a.api(e), q, images, volumes) })
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not just dangling ones")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().BoolVar(&volumes, "volumes", false, "Prune anonymous volumes")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: until=<timestamp>, label=<key>[=<value>], label!=…")
	return c
}

// prune removes what nothing uses: containers first, since they use the others.
func (a *app) prune(c *api, q, images url.Values, volumes bool) error {
	var ended container.PruneReport
	if err := c.call(http.MethodPost, "/containers/prune", q, &ended); err != nil {
		return err
	}
	a.sayRemoved("Containers", ended.ContainersDeleted)
	reclaimed := ended.SpaceReclaimed
	var unused network.PruneReport
	if err := c.call(http.MethodPost, "/networks/prune", q, &unused); err != nil {
		return err
	}
	a.sayRemoved("Networks", unused.NetworksDeleted)
	if volumes {
		var gone volume.PruneReport
		if err := c.call(http.MethodPost, "/volumes/prune", q, &gone); err != nil {
			return err
		}
		a.sayRemoved("Volumes", gone.VolumesDeleted)
		reclaimed += gone.SpaceReclaimed
	}
	var old image.PruneReport
	if err := c.call(http.MethodPost, "/images/prune", images, &old); err != nil {
		return err
	}
	a.sayRemoved("Images", imageLines(old.ImagesDeleted))
	a.sayReclaimed(reclaimed + old.SpaceReclaimed)
	return nil
}

func imageLines(list []image.DeleteResponse) (lines []string) {
	for _, d := range list {
		if d.Untagged != "" {
			lines = append(lines, "untagged: "+d.Untagged)
		}
		if d.Deleted != "" {
			lines = append(lines, "deleted: "+d.Deleted)
		}
	}
	return lines
}
