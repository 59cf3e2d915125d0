package main

import "errors"

var listVerb = verb{
	name: "list", args: "[options]",
	about: "list containers",
	run:   (*command).list,
}

func (c *command) list(args []string) error { return errors.New("list: not there yet") }
