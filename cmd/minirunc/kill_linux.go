package main

import "errors"

var killVerb = verb{
	name: "kill", args: "[options] CONTAINER-ID [SIGNAL]",
	about: "send a signal to a container",
	run:   (*command).kill,
}

func (c *command) kill(args []string) error { return errors.New("kill: not there yet") }
