package main

import "errors"

var restoreVerb = verb{
	name: "restore", args: "[options] CONTAINER-ID",
	about: "not supported",
	run:   (*command).restore,
}

func (c *command) restore(args []string) error { return errors.New("restore: not there yet") }
