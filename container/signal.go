package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// killed bounds the wait for the end of what was killed: a process can be inside the kernel for a while.
const killed = 10 * time.Second

// alive returns the process, or an error if it was not started or has ended.
func (p *Process) alive(verb string) (*namespace.Process, error) {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if p.run.proc == nil {
		return nil, fmt.Errorf("container: %s %s: not started", verb, p)
	}
	if p.run.end != nil {
		return nil, fmt.Errorf("container: %s %s: %w", verb, p, os.ErrProcessDone)
	}
	return p.run.proc, nil
}

// Signal sends a signal, a syscall.Signal, to the command. After its end the error satisfies errors.Is(err,
// os.ErrProcessDone).
func (p *Process) Signal(sig os.Signal) error {
	proc, err := p.alive("signal")
	if err != nil {
		return err
	}
	n, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("container: signal %s: %v is not a syscall.Signal", p, sig)
	}
	if err := proc.Signal(n); err != nil {
		return fmt.Errorf("container: signal %s: %w", p, err)
	}
	return nil
}

// Kill sends SIGKILL to the command. Of a container's own process see [Container.Kill].
func (p *Process) Kill() error { return p.Signal(syscall.SIGKILL) }

// KillGroup sends SIGKILL to a command that [Container.Command] started, and to those of the processes that it has started which are in
// its process group still. After its end the error satisfies errors.Is(err, os.ErrProcessDone).
func (p *Process) KillGroup() error {
	if p.in == nil {
		return fmt.Errorf("container: kill group of %s: it is the container's own: %w", p, errors.ErrUnsupported)
	}
	proc, err := p.alive("kill group of")
	if err != nil {
		return err
	}
	if err := proc.KillGroup(); err != nil {
		return fmt.Errorf("container: kill group of %s: %w", p, err)
	}
	return nil
}

// Kill kills all processes of the container, paused or not.
func (c *Container) Kill() error {
	if _, err := c.alive("kill"); err != nil {
		return err
	}
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	if c.group != nil && (c.paused || !isNew(c.Namespaces.PID)) {
		if err := c.killGroup(); err != nil {
			return fmt.Errorf("container: kill %s: %w", c, err)
		}
		return nil
	}
	return c.Process.Kill() // with its init a PID namespace ends
}

// Stop sends StopSignal to the command and waits for its end. When ctx ends first, it kills. It returns nil when the
// command has ended, however; Wait tells how.
func (p *Process) Stop(ctx context.Context) error { return p.stop(ctx, p.Kill, func() {}) }

// Stop sends StopSignal to the container's own process, resumes it if it is paused, and waits for its end. When ctx
// ends first, it kills all processes. It returns nil when the container has ended, however; Wait tells how.
func (c *Container) Stop(ctx context.Context) error { return c.stop(ctx, c.Kill, c.wake) }

func (p *Process) stop(ctx context.Context, kill func() error, wake func()) error {
	sig, err := signalNumber("StopSignal", p.StopSignal)
	if err != nil {
		return err
	}
	err = p.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	wake()
	select {
	case <-p.run.exited:
		return nil
	case <-ctx.Done():
	}
	if err := kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.run.exited:
		return nil
	case <-time.After(killed):
		return fmt.Errorf("container: stop %s: it has not ended %v after SIGKILL", p, killed)
	}
}

// withGroup calls f with the container's control group while it runs.
func (c *Container) withGroup(verb string, f func(*cgroups.Group) error) error {
	if _, err := c.alive(verb); err != nil {
		return err
	}
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	if c.NoCgroup {
		return fmt.Errorf("container: %s %s: it has no control group: NoCgroup is set", verb, c)
	}
	if c.group == nil {
		return fmt.Errorf("container: %s %s: %w", verb, c, os.ErrProcessDone)
	}
	if err := f(c.group); err != nil {
		return fmt.Errorf("container: %s %s: %w", verb, c, err)
	}
	return nil
}

// Stats returns what the container uses at the moment, and has used so far.
func (c *Container) Stats() (s *cgroups.Stats, err error) {
	err = c.withGroup("measure", func(g *cgroups.Group) (err error) {
		s, err = g.Stats()
		return err
	})
	return s, err
}

// Update changes the limits of the running container; a field of r that is zero leaves what is in force. The fields of
// the Container stay as they are.
func (c *Container) Update(r *cgroups.Resources) error {
	return c.withGroup("update", func(g *cgroups.Group) error {
		err := g.Update(r)
		if err != nil && c.exceedsScope(r, err) {
			if err = c.updateScope(r); err == nil {
				err = g.Update(r)
			}
		}
		if err != nil {
			return err
		}
		return c.updateScope(r)
	})
}
