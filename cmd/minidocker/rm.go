package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) rmCommand() *cobra.Command {
	o := &engine.RemoveOptions{}
	c := &cobra.Command{
		Use:                   "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short:                 "Remove one or more containers",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					err := e.Remove(a.ctx, name, o)
					if o.Force && errors.Is(err, fs.ErrNotExist) {
						err = nil // with --force, what is not there is as good as removed
						say(a.stderr, "Error: No such container: %s", name)
						return err
					}
					if err == nil {
						say(a.stdout, "%s", name)
					}
					return err
				})
			})
		},
	}
	c.Flags().BoolVarP(&o.Force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	refuseSwitch(c.Flags(), "link", "l", false, "links are the container's that has them, and go with it")
	c.Flags().BoolVarP(&o.Volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	return c
}
