package main

import "errors"

var eventsVerb = verb{
	name: "events", args: "[options] CONTAINER-ID",
	about: "print what a container uses, and when it is out of memory",
	run:   (*command).events,
}

func (c *command) events(args []string) error { return errors.New("events: not there yet") }
