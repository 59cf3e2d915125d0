package main

import (
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) topCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "top CONTAINER [ps OPTIONS]", Short: "Display the running processes of a container", Args: cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return a.top(e, args[0], args[1:]) })
		},
	}
	c.Flags().SetInterspersed(false)
	return c
}

// top prints a table of the container's processes.
func (a *app) top(e *engine.Engine, name string, options []string) error {
	rows, err := e.Top(a.ctx, name, options)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 20, 1, 3, ' ', 0)
	for _, row := range rows {
		say(w, "%s", strings.Join(row, "\t"))
	}
	return w.Flush()
}
