package main

import "errors"

var deleteVerb = verb{
	name: "delete", args: "[options] CONTAINER-ID",
	about: "remove what is left of a container",
	run:   (*command).delete,
}

func (c *command) delete(args []string) error { return errors.New("delete: not there yet") }
