package main

import (
	"encoding/json"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var stateVerb = verb{
	name: "state", args: "CONTAINER-ID",
	about: "print the state of a container",
	run:   (*command).state,
}

// A shownState is a container as state and list print it.
type shownState struct {
	Version     string               `json:"ociVersion"`
	ID          string               `json:"id"`
	Pid         int                  `json:"pid"` // 0 when it has stopped
	Status      specs.ContainerState `json:"status"`
	Bundle      string               `json:"bundle"`
	Rootfs      string               `json:"rootfs"`
	Created     time.Time            `json:"created"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	Owner       string               `json:"owner"` // of the folder; only list says it
}

func (k *container) shown() (*shownState, error) {
	status, err := k.status()
	if err != nil {
		return nil, err
	}
	s := &shownState{
		Version: k.OCIVersion, ID: k.ID, Pid: k.InitProcessPid, Status: status, Bundle: k.Bundle, Rootfs: k.Config.Rootfs,
		Created: k.Created, Annotations: k.Annotations,
	}
	if status == specs.StateStopped {
		s.Pid = 0
	}
	return s, nil
}

func (c *command) state(args []string) error {
	f := c.flags("state")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := c.open(f.Arg(0))
	if err != nil {
		return err
	}
	s, err := k.shown()
	if err != nil {
		return err
	}
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "  ")
	return e.Encode(s)
}
