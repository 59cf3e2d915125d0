package main

import "errors"

var startVerb = verb{
	name: "start", args: "CONTAINER-ID",
	about: "execute the command of a container that was created",
	run:   (*command).start,
}

func (c *command) start(args []string) error { return errors.New("start: not there yet") }
