package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/namespace"
)

// seccomp compiles the filter.
func (b *Bundle) seccomp(l *namespace.Launch, o *Options) (err error) {
	p := b.Spec.Linux.Seccomp
	if p == nil {
		return nil
	}
	if l.SeccompFlags, err = seccomp.Flags(p); err == nil {
		l.SeccompFlags &^= seccomp.FlagTSync // the process has one thread, and with a listener the kernel refuses it
		l.Seccomp, err = seccomp.Compile(p, nil)
	}
	if err != nil {
		return seccompError(err)
	}
	if l.SeccompFlags&seccomp.FlagNewListener != 0 {
		l.SeccompNotify = sendListener(p, o.State)
	}
	return nil
}

func seccompError(err error) error {
	var field *seccomp.FieldError
	if errors.As(err, &field) {
		return &FieldError{Field: "linux.seccomp." + field.Field, Err: field.Err}
	}
	return &FieldError{Field: "linux.seccomp", Err: err}
}

// checkListener looks who is there for calls that the profile notifies of.
func (b *Bundle) checkListener() error {
	p := b.Spec.Linux.Seccomp
	if p == nil {
		return nil
	}
	notifies := seccomp.Notifies(p)
	switch {
	case notifies && p.ListenerPath == "":
		return wrong("linux.seccomp.listenerPath", "there is none, but the action %s", specs.ActNotify)
	case p.ListenerPath != "" && !filepath.IsAbs(p.ListenerPath):
		return wrong("linux.seccomp.listenerPath", "%q is not an absolute path", p.ListenerPath)
	case p.ListenerMetadata != "" && p.ListenerPath == "":
		return wrong("linux.seccomp.listenerMetadata", "there is no listenerPath that it could be sent to")
	}
	return nil
}

// sendLimit bounds the sending of a listener: the process waits in the middle of its start.
const sendLimit = 20 * time.Second

// sendListener sends a process's listener to the agent, with "The Container Process State" of the specification.
func sendListener(p *specs.LinuxSeccomp, state specs.State) func(context.Context, *namespace.SeccompListener) error {
	return func(ctx context.Context, n *namespace.SeccompListener) error {
		defer n.Close()
		ctx, cancel := context.WithTimeout(ctx, sendLimit)
		defer cancel()
		s := specs.ContainerProcessState{
			Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: n.Pid(), Metadata: p.ListenerMetadata, State: state,
		}
		s.State.Version, s.State.Status = specs.Version, specs.StateRunning
		if s.State.Pid == 0 { // it is the container's first process that starts
			s.State.Pid, s.State.Status = n.Pid(), specs.StateCreating
		}
		b, err := json.Marshal(s)
		if err == nil {
			err = n.Send(ctx, p.ListenerPath, b)
		}
		if err != nil {
			return &FieldError{Field: "linux.seccomp.listenerPath", Err: err}
		}
		return nil
	}
}
