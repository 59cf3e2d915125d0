package main

import "errors"

var resumeVerb = verb{
	name: "resume", args: "CONTAINER-ID",
	about: "resume what pause has suspended",
	run:   (*command).resume,
}

func (c *command) resume(args []string) error { return errors.New("resume: not there yet") }
