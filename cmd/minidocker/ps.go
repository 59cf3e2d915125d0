package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// table writes columns as wide as need be, three spaces apart.
func table(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 10, 1, 3, ' ', 0) }

type psFlags struct {
	all, quiet, noTrunc bool
	latest              bool
	last                int
	filters             []string
}

func (a *app) psCommand() *cobra.Command {
	f := &psFlags{}
	c := &cobra.Command{
		Use:                   "ps [OPTIONS]",
		Short:                 "List containers",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error { return a.ps(e, f) })
		},
	}
	c.Flags().BoolVarP(&f.all, "all", "a", false, "Show all containers (default shows just running)")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "Only display container IDs")
	c.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "Don't truncate output")
	c.Flags().BoolVarP(&f.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	c.Flags().IntVarP(&f.last, "last", "n", -1, "Show n last created containers (includes all states)")
	c.Flags().StringArrayVarP(&f.filters, "filter", "f", nil,
		"Filter output: id=, name=, status=, exited=, ancestor=, label=name[=value]")
	return c
}

func (a *app) ps(e *engine.Engine, f *psFlags) error {
	list, err := e.List(a.ctx)
	if err != nil {
		return err
	}
	if f.latest {
		f.last = 1
	}
	filter, err := parseFilters(f.filters)
	if err != nil {
		return err
	}
	all := f.all || f.last >= 0 || len(filter["status"]) > 0 || len(filter["exited"]) > 0
	w := table(a.stdout)
	if !f.quiet {
		fmt.Fprintln(w, "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES")
	}
	shown := 0
	for _, c := range list {
		if !all && c.State.Status != engine.Running && !c.State.Restarting || !filter.match(c) || f.last >= 0 && shown == f.last {
			continue
		}
		shown++
		id, command := c.ID, strings.Join(c.Args, " ")
		if !f.noTrunc {
			id, command = c.ShortID(), ellipsis(command, 20)
		}
		if f.quiet {
			fmt.Fprintln(w, id)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s ago\t%s\t%s\t%s\n", id, c.Config.Image, strconv.Quote(command),
			engine.Ago(time.Since(c.Created)), c.State.String(), portColumn(c), c.Name)
	}
	return w.Flush()
}

// statusWord is the word that --filter has for a state.
func statusWord(s *engine.State) string {
	if s.Paused {
		return "paused"
	}
	if s.Restarting {
		return "restarting"
	}
	return string(s.Status)
}

// ellipsis cuts s to n characters.
func ellipsis(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// filters are the values wanted, by key. A container fits if for each key one of the values does.
type filters map[string][]string

func parseFilters(specs []string) (filters, error) {
	f := make(filters)
	for _, s := range specs {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("invalid filter '%s': it must be of the form key=value", s)
		}
		switch key {
		case "id", "name", "status", "exited", "ancestor", "label":
			f[key] = append(f[key], value)
		default:
			return nil, fmt.Errorf("invalid filter '%s'", key)
		}
	}
	return f, nil
}

func (f filters) match(c *engine.Container) bool {
	for key, values := range f {
		fits := false
		for _, v := range values {
			switch key {
			case "id":
				fits = fits || strings.HasPrefix(c.ID, v)
			case "name":
				fits = fits || strings.Contains(c.Name, strings.TrimPrefix(v, "/"))
			case "status":
				fits = fits || statusWord(&c.State) == v
			case "exited":
				fits = fits || c.State.Status == engine.Exited && strconv.Itoa(c.State.ExitCode) == v
			case "ancestor":
				fits = fits || c.Config.Image == v || familiar(c.Config.Image) == familiar(v) ||
					strings.HasPrefix(c.ImageID.Encoded(), v)
			case "label":
				name, value, ok := strings.Cut(v, "=")
				have, there := c.Labels[name]
				fits = fits || there && (!ok || have == value)
			}
		}
		if !fits {
			return false
		}
	}
	return true
}
