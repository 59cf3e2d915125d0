package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/caisson-engine/caisson/internal/ocistate"
)

var listVerb = verb{
	name: "list", args: "[options]",
	about: "list containers",
	run:   (*command).list,
}

var errFormat = errors.New("invalid format option")

func (c *command) list(args []string) error {
	f := c.flags("list")
	format := f.String("format", "table", "table or json")
	f.StringVar(format, "f", "table", "table or json")
	quiet := f.Bool("quiet", false, "ids only")
	f.BoolVar(quiet, "q", false, "ids only")
	if err := c.parse(f, args, 0, 0); err != nil {
		return err
	}
	all, err := c.containers()
	if err != nil {
		return err
	}
	switch {
	case *quiet:
		for _, s := range all {
			fmt.Fprintln(c.stdout, s.ID)
		}
		return nil
	case *format == "json":
		return json.NewEncoder(c.stdout).Encode(all)
	case *format != "table":
		return errFormat
	}
	w := tabwriter.NewWriter(c.stdout, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}

// containers returns those of the root. One that cannot be read is warned of.
func (c *command) containers() ([]*shownState, error) {
	entries, err := ocistate.Root(c.root).List()
	if errors.Is(err, fs.ErrNotExist) && !c.rootSet {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*shownState
	for _, e := range entries {
		k, err := c.open(e.ID)
		if errors.Is(err, ocistate.ErrNotExist) { // being made, or deleted
			continue
		}
		var s *shownState
		if err == nil {
			s, err = k.shown()
		}
		if err != nil {
			c.warn("load container %s: %v", e.ID, err)
			continue
		}
		s.Owner = "#" + strconv.FormatUint(uint64(e.UID), 10)
		if u, err := user.LookupId(s.Owner[1:]); err == nil {
			s.Owner = u.Username
		}
		all = append(all, s)
	}
	return all, nil
}
