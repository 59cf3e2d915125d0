package main

import (
	"errors"
	"fmt"
)

var checkpointVerb = verb{
	name: "checkpoint", args: "[options] CONTAINER-ID",
	about: "not supported",
	run:   (*command).checkpoint,
}

func (c *command) checkpoint([]string) error { return c.unsupported() }

var restoreVerb = verb{
	name: "restore", args: "[options] CONTAINER-ID",
	about: "not supported",
	run:   (*command).restore,
}

func (c *command) restore([]string) error { return c.unsupported() }

// unsupported does not look at options and arguments: there is nothing that any of them would change.
func (c *command) unsupported() error {
	return fmt.Errorf("%s is not supported by minirunc: %w", c.verb.name, errors.ErrUnsupported)
}
