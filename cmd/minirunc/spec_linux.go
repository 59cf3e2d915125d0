package main

import "errors"

var specVerb = verb{
	name: "spec", args: "[options]",
	about: "write a config.json to start from",
	run:   (*command).spec,
}

func (c *command) spec(args []string) error { return errors.New("spec: not there yet") }
