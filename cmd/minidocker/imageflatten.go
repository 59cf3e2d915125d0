package main

import (
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
)

func (a *app) imageFlattenCommand() *cobra.Command {
	o := &image.CommitOptions{}
	c := &cobra.Command{
		Use:                   "flatten [OPTIONS] IMAGE [REPOSITORY[:TAG]]",
		Short:                 "Make an image of one layer from an image's layers",
		Args:                  cobra.RangeArgs(1, 2),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				o.Name = args[1]
			}
			return a.withEngine(func(e *engine.Engine) error {
				img, err := e.Flatten(a.ctx, args[0], o)
				if err == nil {
					say(a.stdout, "%s", img.ID)
				}
				return err
			})
		},
	}
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	c.Flags().StringVarP(&o.Comment, "message", "m", "", "Set commit message")
	c.Flags().StringVarP(&o.Author, "author", "a", "", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
	return c
}
