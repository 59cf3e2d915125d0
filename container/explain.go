package container

import (
	"context"

	"github.com/caisson-engine/caisson/namespace"
)

// Program returns the program of system calls that Start would run, for showing: nothing is started, and c can still be
// started. The control group that a start makes is not there, so the steps by which the process enters it are missing. The
// source of a bind need not be there: it is taken for a folder.
func (c *Container) Program() (*namespace.Program, error) {
	c.showing = true
	err := c.check()
	c.showing = false
	if err != nil {
		return nil, err
	}
	if c.name == "" {
		c.name = randomName()
	}
	l, err := c.launch()
	if err != nil {
		return nil, err
	}
	c.launchHooks(context.Background(), l, nil)
	program, err := l.Program()
	if err != nil {
		return nil, startError(err)
	}
	return program, nil
}

// CgroupPaths returns the folders of the container's control group, one a hierarchy, while it runs. Whoever writes them down
// can clear them away if the host program and its guardian are killed together.
func (c *Container) CgroupPaths() []string {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	if c.group == nil {
		return nil
	}
	return c.group.Paths()
}
