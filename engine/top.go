package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Top returns what the host's ps(1), with the options or else "-ef", says about the processes of the running container that ref names: a
// row of headings, among them PID, and a row each.
func (e *Engine) Top(ctx context.Context, ref string, options []string) ([][]string, error) {
	pids, err := e.Pids(ctx, ref)
	if err != nil {
		return nil, err
	}
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.CommandContext(ctx, "ps", options...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		first, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return nil, invalid("ps %s: %s", strings.Join(options, " "), cmp.Or(first, err.Error()))
	}
	if err != nil {
		return nil, fmt.Errorf("ps %s: %w", strings.Join(options, " "), err)
	}
	return processRows(string(out), pids)
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
