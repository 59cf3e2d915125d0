package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
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

// top prints what the host's ps says about the container's processes.
func (a *app) top(e *engine.Engine, name string, options []string) error {
	pids, err := e.Pids(a.ctx, name)
	if err != nil {
		return err
	}
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.CommandContext(a.ctx, "ps", options...).Output()
	if err != nil {
		return fmt.Errorf("ps %s: %w", strings.Join(options, " "), err)
	}
	rows, err := processRows(string(out), pids)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 20, 1, 3, ' ', 0)
	for _, row := range rows {
		say(w, "%s", strings.Join(row, "\t"))
	}
	return w.Flush()
}

// processRows picks the headings and the processes out of what ps prints. The last column may hold spaces.
func processRows(out string, pids []int) (rows [][]string, err error) {
	at, of := -1, false
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if rows == nil {
			if at = slices.Index(fields, "PID"); at < 0 {
				return nil, fmt.Errorf("ps shows no column PID: %q", strings.TrimSpace(line))
			}
			rows = append(rows, fields)
			continue
		}
		if len(fields) <= at {
			continue
		}
		if fields[at] != "-" { // else it is a thread of the process before
			pid, err := strconv.Atoi(fields[at])
			if err != nil {
				return nil, fmt.Errorf("ps shows the process %q", fields[at])
			}
			of = slices.Contains(pids, pid)
		}
		if !of {
			continue
		}
		if last := len(rows[0]) - 1; len(fields) > last {
			fields = append(fields[:last:last], strings.Join(fields[last:], " "))
		}
		rows = append(rows, fields)
	}
	return rows, nil
}
