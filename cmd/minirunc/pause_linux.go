package main

import "errors"

var pauseVerb = verb{
	name: "pause", args: "CONTAINER-ID",
	about: "suspend all processes of a container",
	run:   (*command).pause,
}

func (c *command) pause(args []string) error { return errors.New("pause: not there yet") }
