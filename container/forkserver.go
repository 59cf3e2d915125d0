package container

import (
	"context"
	"sync"

	"github.com/caisson-engine/caisson/namespace"
)

// maxForkServers bounds how often a container's fork server is started again when something in the container has ended it.
const maxForkServers = 4

// A forkServer is a container's own, if it has one.
type forkServer struct {
	mu       sync.Mutex
	server   *namespace.ForkServer
	starting bool
	over     bool // the container has ended
	started  int  // how many there have been, or maxForkServers if there shall be none
}

func (c *Container) checkForkServer() error {
	if c.ForkServer && !isNew(c.Namespaces.PID) {
		return wrong("ForkServer", "Namespaces.PID is not new: the server ends with the PID namespace")
	}
	return nil
}

// fork lets the container's fork server, started when it is not there, make the process of l, which is as [Process.Start]
// would start it otherwise.
func (c *Container) fork(ctx context.Context, init *namespace.Process, l *namespace.Launch) {
	if !c.ForkServer {
		return
	}
	f := &c.forks
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil && f.server.Alive() {
		l.ForkServer = f.server
		return
	}
	if f.starting || f.started >= maxForkServers {
		return
	}
	f.starting = true
	f.started++
	f.mu.Unlock() // somebody in the container may stop the server in its set-up: the other commands do not wait for it
	var server *namespace.ForkServer
	own, err := c.Command("forkserver").launchIn(init)
	if err == nil {
		own.CgroupDir, own.CgroupTasks = l.CgroupDir, l.CgroupTasks
		server, err = own.StartForkServer(ctx)
	}
	f.mu.Lock()
	f.starting = false
	switch {
	case err == nil && f.over:
		_ = server.Close()
	case err == nil:
		f.server, l.ForkServer = server, server
	case ctx.Err() == nil: // it will not be otherwise the next time
		f.started = maxForkServers
	}
}

// endForkServer ends it with the container.
func (c *Container) endForkServer() {
	f := &c.forks
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started, f.over = maxForkServers, true
	if f.server != nil {
		_ = f.server.Close()
	}
}
