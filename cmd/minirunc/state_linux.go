package main

import "errors"

var stateVerb = verb{
	name: "state", args: "CONTAINER-ID",
	about: "print the state of a container",
	run:   (*command).state,
}

func (c *command) state(args []string) error { return errors.New("state: not there yet") }
