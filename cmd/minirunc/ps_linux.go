package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
)

var psVerb = verb{
	name: "ps", args: "[options] CONTAINER-ID [ps options]",
	about: "list the processes of a container",
	run:   (*command).ps,
}

func (c *command) ps(args []string) error {
	f := c.flags("ps")
	format := f.String("format", "table", "table or json")
	f.StringVar(format, "f", "table", "table or json")
	if err := c.parse(f, args, 1, -1); err != nil {
		return err
	}
	k, err := c.open(f.Arg(0))
	if err != nil {
		return err
	}
	var pids []int
	err = k.withGroup(func(g *cgroups.Group) (err error) {
		pids, err = g.Pids()
		return err
	})
	if err != nil && !errors.Is(err, errNoGroup) {
		return fmt.Errorf("unable to get all container pids: %w", err)
	}
	switch *format {
	case "json":
		return json.NewEncoder(c.stdout).Encode(append([]int{}, pids...)) // [], not null
	case "table":
		return c.psTable(pids, f.Args()[1:])
	}
	return errFormat
}

// psTable prints those lines of the host's ps that are of the processes.
func (c *command) psTable(pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.Command("ps", options...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, strings.TrimSpace(string(out)))
	}
	head, rest, _ := strings.Cut(string(out), "\n")
	column := slices.Index(strings.Fields(head), "PID")
	if column < 0 {
		return fmt.Errorf("couldn't find PID field in ps output")
	}
	fmt.Fprintln(c.stdout, head)
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Fprint(c.stdout, line)
		}
	}
	return nil
}
