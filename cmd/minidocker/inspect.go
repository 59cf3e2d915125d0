package main

import (
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect NAME|ID [NAME|ID...]",
		Short: "Print the engine's own documents of containers, as JSON, and Docker's of images",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list := []any{}
				err := a.each(args, func(name string) error {
					c, err := e.Inspect(a.ctx, name)
					if err == nil {
						list = append(list, c)
						return nil
					}
					if !errors.Is(err, fs.ErrNotExist) {
						return err
					}
					d, ierr := a.imageDocument(e, name)
					if errors.Is(ierr, fs.ErrNotExist) {
						return &engine.Error{Kind: engine.NotFound, Message: "No such object: " + name}
					}
					if ierr == nil {
						list = append(list, d)
					}
					return ierr
				})
				if e := a.printJSON(list); e != nil {
					return e
				}
				return err
			})
		},
	}
}

func (a *app) printJSON(v any) error {
	out := json.NewEncoder(a.stdout)
	out.SetIndent("", "    ")
	return out.Encode(v)
}
