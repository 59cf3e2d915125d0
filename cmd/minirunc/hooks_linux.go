package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/namespace"
)

// hooks run a container's hooks. process is its first one, for the hooks that are executed in it, and group its control group, or nil.
func hooks(b *bundle.Bundle, process *namespace.Process, group *cgroups.Group, state *specs.State) *hook.Runner {
	r := &hook.Runner{Hooks: b.Spec.Hooks, Dir: b.Dir, Process: process, Group: group}
	if process == nil {
		return r
	}
	r.Mapped, r.Namespaces = len(b.Spec.Linux.UIDMappings) > 0, joined(b, process.PidFD())
	r.Contained = func() (*namespace.Launch, error) {
		p := *b.Spec.Process
		p.Terminal, p.ConsoleSize, p.ExecCPUAffinity = false, nil, nil
		return b.Process(&p, &bundle.Options{State: *state, KeepKeyring: true})
	}
	return r
}

// runHooks runs the hooks of a kind in order, and stops at the first one that fails: the error names it.
func runHooks(ctx context.Context, r *hook.Runner, kind string, state *specs.State) error {
	return hookError(r.Run(ctx, kind, state))
}

// hookError names the field of the configuration that a hook is in.
func hookError(err error) error {
	var failed *hook.Error
	if !errors.As(err, &failed) {
		return err
	}
	return &bundle.FieldError{Field: fmt.Sprintf("hooks.%s[%d]", failed.Kind, failed.Index), Err: err}
}

// joined are the namespaces of a container that runs, for another process in it.
func joined(b *bundle.Bundle, pidfd *os.File) namespace.Namespaces {
	join, host := namespace.Namespace{Join: pidfd}, namespace.Namespace{Host: true}
	n := namespace.Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host}
	for _, x := range b.Spec.Linux.Namespaces {
		if field := bundle.NamespaceOf(&n, x.Type); field != nil {
			*field = join
		}
	}
	return n
}

// warnHooks runs all hooks of a kind. What they do wrong changes nothing any more.
func (c *command) warnHooks(r *hook.Runner, kind string, state *specs.State) {
	for _, err := range r.RunAll(kind, state) {
		c.warn("%v", hookError(err))
	}
}

// poststop runs the hooks that come after a deletion.
func (c *command) poststop(k *container) error {
	b := &bundle.Bundle{Dir: k.Bundle, Spec: &specs.Spec{Hooks: &specs.Hooks{Poststop: k.Poststop}}}
	c.warnHooks(hooks(b, nil, nil, nil), "poststop", k.ociState(specs.StateStopped))
	return nil
}
