package main

import (
	"io/fs"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) imagePruneCommand() *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{
		Use:                   "prune [OPTIONS]",
		Short:                 "Remove unused images",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			q, err := filterQuery(filters)
			if err != nil {
				return err
			}
			what := "all dangling images"
			if all {
				if q, err = filterQuery(append(filters, "dangling=false")); err != nil {
					return err
				}
				what = "all images without at least one container associated to them"
			}
			if !force && !a.confirm("WARNING! This will remove "+what+".") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error {
				var removed image.PruneReport
				if err := a.api(e).call(http.MethodPost, "/images/prune", q, &removed); err != nil {
					return err
				}
				a.sayRemoved("Images", imageLines(removed.ImagesDeleted))
				a.sayReclaimed(removed.SpaceReclaimed)
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not just dangling ones")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: until=<timestamp>, label=<key>[=<value>], label!=…")
	return c
}

// confirm asks, and is true for a "y".
func (a *app) confirm(warning string) bool {
	say(a.stdout, "%s", warning)
	_, _ = a.stdout.WriteString("Are you sure you want to continue? [y/N] ")
	answer, _ := a.readLine()
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

// readLine reads one line of standard input, and nothing after it.
func (a *app) readLine() (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < 1<<16 {
		n, err := a.stdin.Read(b)
		if n == 0 || b[0] == '\n' {
			return string(line), err
		}
		line = append(line, b[0])
	}
	return string(line), fs.ErrInvalid
}
