package main

import "errors"

var checkpointVerb = verb{
	name: "checkpoint", args: "[options] CONTAINER-ID",
	about: "not supported",
	run:   (*command).checkpoint,
}

func (c *command) checkpoint(args []string) error { return errors.New("checkpoint: not there yet") }
