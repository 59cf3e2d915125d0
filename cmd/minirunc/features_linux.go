package main

import "errors"

var featuresVerb = verb{
	name: "features", args: "[options]",
	about: "print what is supported",
	run:   (*command).features,
}

func (c *command) features(args []string) error { return errors.New("features: not there yet") }
