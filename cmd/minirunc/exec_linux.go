package main

import "errors"

var execVerb = verb{
	name: "exec", args: "[options] CONTAINER-ID COMMAND [ARG...]",
	about: "execute another process in a container",
	run:   (*command).exec,
}

func (c *command) exec(args []string) error { return errors.New("exec: not there yet") }
