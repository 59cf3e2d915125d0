package main

import "errors"

var runVerb = verb{
	name: "run", args: "[options] CONTAINER-ID",
	about: "create a container and start it",
	run:   (*command).run,
}

func (c *command) run(args []string) error { return errors.New("run: not there yet") }
