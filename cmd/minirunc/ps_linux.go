package main

import "errors"

var psVerb = verb{
	name: "ps", args: "[options] CONTAINER-ID [ps options]",
	about: "list the processes of a container",
	run:   (*command).ps,
}

func (c *command) ps(args []string) error { return errors.New("ps: not there yet") }
