package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/namespace"
)

var killVerb = verb{
	name: "kill", args: "[options] CONTAINER-ID [SIGNAL]",
	about: "send a signal to a container's first process (default: SIGTERM)",
	run:   (*command).kill,
}

func (c *command) kill(args []string) error {
	f := c.flags("kill")
	all := f.Bool("all", false, "send it to all processes in the container")
	f.BoolVar(all, "a", false, "send it to all processes in the container")
	if err := c.parse(f, args, 1, 2); err != nil {
		return err
	}
	k, err := c.open(f.Arg(0))
	if err != nil {
		return err
	}
	sig := syscall.SIGTERM
	if f.Arg(1) != "" {
		if sig, err = parseSignal(f.Arg(1)); err != nil {
			return err
		}
	}
	if ends(sig) && k.OwnPIDNamespace() && namespace.Parked(k.dir()) {
		if done, err := c.endParked(k.ID); done || err != nil {
			return err
		}
	}
	if *all {
		return k.signalAll(sig)
	}
	return k.signal(sig)
}

// ends says whether programs end by a signal that they do not expect. (Those of users' own, which they might, are not among them;
// Go's programs, such as runc's process that waits for start, do not end by them either.)
func ends(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS,
		syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGSTKFLT, syscall.SIGSYS:
		return true
	}
	return false
}

// endParked ends a container whose process waits for start: the first one of a PID namespace takes no signal but SIGKILL before
// its command has said which. A start that is under way is waited for; then it is for the command, and nothing is done.
func (c *command) endParked(id string) (done bool, err error) {
	k, err := c.lock(id)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if done = namespace.Parked(k.dir()); done {
		err = k.signal(syscall.SIGKILL)
	}
	return done, errors.Join(err, k.close())
}

// signal sends a signal to the container's first process; SIGKILL, which is to end the container, to all processes if they do
// not end with that one. The error is ErrNotRunning if the container has stopped.
func (k *container) signal(sig syscall.Signal) error {
	if sig == syscall.SIGKILL && !k.OwnPIDNamespace() {
		status, err := k.status()
		if err != nil {
			return err
		}
		err = k.withGroup(killAll)
		switch {
		case err == nil && status != specs.StateStopped:
			return nil
		case err == nil:
			return ocistate.ErrNotRunning
		case !errors.Is(err, errNoGroup):
			return fmt.Errorf("unable to kill all processes: %w", err)
		}
	}
	if err := k.Signal(sig); err != nil {
		if errors.Is(err, ocistate.ErrNotRunning) {
			return err
		}
		return fmt.Errorf("unable to signal init: %w", err)
	}
	if sig != syscall.SIGKILL {
		return nil
	}
	return k.thawV1() // what that freezer holds dies when it is let go
}

// signalAll sends a signal to all processes in the container. It is no error if there are none any more.
func (k *container) signalAll(sig syscall.Signal) error {
	err := k.withGroup(func(g *cgroups.Group) error {
		if sig == syscall.SIGKILL {
			return killAll(g)
		}
		return g.Signal(sig)
	})
	if !errors.Is(err, errNoGroup) {
		return err
	}
	if len(k.Group) == 0 { // it never had one
		err = k.signal(sig)
	}
	if errors.Is(err, ocistate.ErrNotRunning) || errors.Is(err, errNoGroup) {
		return nil
	}
	return err
}

func killAll(g *cgroups.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	return g.Kill(ctx)
}
