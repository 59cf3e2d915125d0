package main

import "errors"

var createVerb = verb{
	name: "create", args: "[options] CONTAINER-ID",
	about: "create a container, whose process waits for start",
	run:   (*command).create,
}

func (c *command) create(args []string) error { return errors.New("create: not there yet") }
