package container

import (
	"context"
	"encoding/json"
	"path"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/namespace"
)

// A SeccompListener receives the system calls for which the profile says NOTIFY, and answers them.
type SeccompListener = namespace.SeccompListener

// A SeccompCall is a system call that waits for its answer. [SyscallName] gives its name.
type SeccompCall = namespace.SeccompCall

// SyscallName returns the name of a call that a listener received, or "" if it is not known.
func SyscallName(c *SeccompCall) string { return seccomp.Name(c.Arch, uint32(c.Number)) }

// checkListener looks who is there for the calls that a profile notifies of.
func (c *Container) checkListener() error {
	notifies := c.Seccomp != nil && seccomp.Notifies(c.Seccomp)
	socket := ""
	if c.Seccomp != nil {
		socket = c.Seccomp.ListenerPath
	}
	switch {
	case c.SeccompNotify != nil && !notifies:
		return wrong("SeccompNotify", "no rule of Seccomp has the action %s", specs.ActNotify)
	case notifies && c.SeccompNotify == nil && socket == "":
		return wrong("SeccompNotify", "Seccomp has the action %s, and nobody is there to answer: set SeccompNotify or "+
			"seccomp.listenerPath", specs.ActNotify)
	case notifies && c.SeccompNotify != nil && socket != "":
		return wrong("seccomp.listenerPath", "%q beside SeccompNotify: one of them can have the listener", socket)
	case socket != "" && !filepath.IsAbs(socket):
		return wrong("seccomp.listenerPath", "%q is not an absolute path", socket)
	case c.Seccomp != nil && c.Seccomp.ListenerMetadata != "" && socket == "":
		return wrong("seccomp.listenerMetadata", "there is no listenerPath that it could be sent to")
	}
	return nil
}

// sendLimit bounds the sending of a listener, beside ctx: the process waits in the middle of its start.
const sendLimit = 20 * time.Second

// listen puts into the launch what gets its listener.
func (c *Container) listen(l *namespace.Launch) {
	if l.SeccompFlags&seccomp.FlagNewListener == 0 {
		return
	}
	if notify := c.SeccompNotify; notify != nil {
		l.SeccompNotify = func(_ context.Context, n *SeccompListener) error {
			go notify(n)
			return nil
		}
		return
	}
	l.SeccompNotify = func(ctx context.Context, n *SeccompListener) error {
		defer n.Close()
		ctx, cancel := context.WithTimeout(ctx, sendLimit)
		defer cancel()
		b, err := json.Marshal(c.processState(n.Pid()))
		if err == nil {
			err = n.Send(ctx, c.Seccomp.ListenerPath, b)
		}
		if err != nil {
			return &StartError{Step: "send seccomp listener", Path: "seccomp.listenerPath", Err: err}
		}
		return nil
	}
}

// processState is what an agent is told of the process whose listener it gets: "The Container Process State" of the OCI
// runtime specification.
func (c *Container) processState(pid int) *specs.ContainerProcessState {
	s := &specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: c.Seccomp.ListenerMetadata,
	}
	if c.SeccompState != nil {
		s.State = *c.SeccompState
	}
	s.State.Version = specs.Version
	if s.State.ID == "" {
		s.State.ID = "caisson-" + c.name
		if c.Cgroup != "" {
			s.State.ID = path.Base(c.Cgroup)
		}
	}
	s.State.Pid, s.State.Status = c.Pid(), specs.StateRunning
	if s.State.Pid == 0 { // it is the container's own process that starts
		s.State.Pid, s.State.Status = pid, specs.StateCreating
	}
	return s
}
