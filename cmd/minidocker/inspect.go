package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect CONTAINER [CONTAINER...]",
		Short: "Print the engine's own documents of containers, as JSON",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list := []*engine.Container{}
				err := a.each(args, func(name string) error {
					c, err := e.Inspect(a.ctx, name)
					if err == nil {
						list = append(list, c)
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

func (a *app) printJSON(v any) error {
	out := json.NewEncoder(a.stdout)
	out.SetIndent("", "    ")
	return out.Encode(v)
}
