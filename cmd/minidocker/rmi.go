package main

import (
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

func (a *app) rmiCommand() *cobra.Command {
	o := &engine.RemoveImageOptions{}
	c := &cobra.Command{
		Use:                   "rmi [OPTIONS] IMAGE [IMAGE...]",
		Short:                 "Remove one or more images",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					removed, err := e.RemoveImage(a.ctx, name, o)
					if err != nil {
						return err
					}
					for _, n := range removed.Untagged {
						say(a.stdout, "Untagged: %s", registry.Familiar(n))
					}
					for _, d := range removed.Deleted {
						say(a.stdout, "Deleted: %s", d)
					}
					return nil
				})
			})
		},
	}
	c.Flags().BoolVarP(&o.Force, "force", "f", false, "Force removal of the image")
	c.Flags().Bool("no-prune", false, "Do not delete untagged parents: there are none")
	refuseFlag(c.Flags(), "platform", "", "", "an image is removed with all its platforms")
	return c
}

func (a *app) tagCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:                 "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		Args:                  cobra.ExactArgs(2),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return e.Tag(a.ctx, args[0], args[1]) })
		},
	}
}
