package main

import "errors"

var updateVerb = verb{
	name: "update", args: "[options] CONTAINER-ID",
	about: "change the limits of a container",
	run:   (*command).update,
}

func (c *command) update(args []string) error { return errors.New("update: not there yet") }
