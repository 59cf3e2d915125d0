package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/control"
	"github.com/caisson-engine/caisson/internal/durable"
)

// restarts says whether somebody must see the container's end, to start it again.
func (c *Container) restarts() bool { return c.Config.RestartPolicy.is() }

// watched says whether a container in background needs somebody who does more than note its end: its restart policy or health check does.
func (c *Container) watched() bool { return c.restarts() || c.Healthcheck.Probes() }

// ended is the state of a container after an end: one that is to be started again says so, and when.
func (e *Engine) ended(c *Container, state State) State {
	if state.Detached && c.Config.RestartPolicy.wants(state.ExitCode, c.RestartCount) && !e.halted(c.ID) {
		state.Restarting = true
		state.RestartDelay = restartDelay(c.State.RestartDelay, state.Finished.Sub(state.Started))
	}
	return state
}

// A container that was told to end has a file, which is there when its end is written down, whoever does that.
func (e *Engine) haltPath(id string) string { return e.path(id, "halted") }

func (e *Engine) halted(id string) bool {
	_, err := os.Lstat(e.haltPath(id))
	return err == nil
}

// halt keeps the container from being started again, and has a start that is under way given up. When it returns, it runs or stays as it is.
func (e *Engine) halt(ctx context.Context, c *Container) error {
	if !c.restarts() {
		return nil
	}
	name := c.Name
	f, err := os.OpenFile(e.haltPath(c.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = durable.SyncDir(e.path(c.ID))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is being removed
	}
	for until := time.Now().Add(e.patience); err == nil; {
		if c, err = e.load(ctx, c.ID); err != nil || !c.State.Restarting {
			break
		}
		if err = e.forgetRestart(ctx, c.ID); err != nil {
			break
		}
		// Unless it is being started at this moment, nobody has this lock.
		var l *durable.Lock
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		l, err = durable.Acquire(wait, e.path(c.ID, "lock"), true)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			if err = nil; time.Now().After(until) { // it waits for a disk that does not answer, say
				err = conflict("it is being started again, and that does not end")
			}
			continue
		}
		if err != nil {
			break
		}
		if c, err = e.reread(ctx, c.ID); err == nil {
			err = e.noRestart(c)
		}
		err = errors.Join(err, l.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("stop container %s: %w", name, err)
	}
	return nil
}

// noRestart writes down that a container, whose lock the caller holds, is not to be started again.
func (e *Engine) noRestart(c *Container) error {
	if !c.State.Restarting {
		return nil
	}
	c.State.Restarting, c.State.RestartDelay = false, 0
	return e.write(c)
}

// forgetRestart has the supervisor not wait for the moment to start a container again.
func (e *Engine) forgetRestart(ctx context.Context, id string) error {
	if s := e.supervisor.Load(); s != nil {
		s.forgetRestart(id)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, letGoTimeout)
	defer cancel()
	a := &answer{}
	err := control.Call(ctx, e.socketPath(), &call{Do: "halt", ID: id}, a)
	if errors.Is(err, control.ErrNobody) {
		return nil
	}
	return errors.Join(err, a.err())
}

// asksToEnd says whether a signal is one after which the container is not to be started again.
func (c *Container) asksToEnd(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		return true
	}
	return int(sig) == c.StopSignal
}

// Signal sends a signal to the container's command. After one that asks to end, its restart policy does not have it started again. ctx
// bounds the noting of that.
func (r *Run) Signal(ctx context.Context, sig syscall.Signal) error {
	if c := r.Container(); c.asksToEnd(sig) { // another one than r.record once Wait has read what others have changed
		if err := r.e.halt(ctx, c); err != nil {
			return err
		}
	}
	if sig == syscall.SIGKILL {
		return r.c.Kill()
	}
	return r.c.Signal(sig)
}

// chooseRestarter refuses a container with a restart policy where nobody would see its end.
func (e *Engine) chooseRestarter(ctx context.Context, p RestartPolicy, detached bool) error {
	switch {
	case !p.is():
		return nil
	case !detached:
		return invalid("restart policy %s: a container that ends with its program is not started again: it is to be started with Detach", p.Name)
	case e.options.StartSupervisor == nil && !e.supervisorThere(ctx):
		return fmt.Errorf("restart policy %s: a container in background needs a supervisor for it, and none is there: %w", p.Name, errors.ErrUnsupported)
	}
	return nil
}

// checkPolicy refuses a change to a restart policy that would not be kept.
func (e *Engine) checkPolicy(ctx context.Context, c *Container, changed *Config) error {
	if changed.RestartPolicy == c.Config.RestartPolicy {
		return nil
	}
	if c.Config.AutoRemove && changed.RestartPolicy.is() {
		return invalid("Restart policy cannot be updated because AutoRemove is enabled for the container")
	}
	if c.State.Status != Running {
		return nil
	}
	return e.chooseRestarter(ctx, changed.RestartPolicy, c.State.Detached)
}

// policyChanged has the supervisor do as the new policy of a container says.
func (e *Engine) policyChanged(ctx context.Context, ref string) error {
	c, err := e.Inspect(ctx, ref)
	switch {
	case err != nil:
		return err
	case c.State.Status == Running && c.restarts():
		_, err = e.ask(ctx, &call{Do: "serve", ID: c.ID})
	case c.State.Status != Running && !c.State.Restarting:
		err = e.forgetRestart(ctx, c.ID)
	}
	return err
}

// needSupervisor sees to it that a supervisor is there for a container that needs one in background. Without it nothing is to be
// stopped that could not be started then.
func (e *Engine) needSupervisor(ctx context.Context, c *Container) error {
	r := &Run{e: e, record: c}
	if err := r.chooseSupervisor(ctx, &StartOptions{Detach: true}); err != nil {
		return err
	}
	if !r.supervised && !r.watched || e.supervisorThere(ctx) {
		return nil
	}
	if err := e.options.StartSupervisor(ctx); err != nil {
		return fmt.Errorf("start the supervisor of %s: %w", e.dir, err)
	}
	return nil
}

// startAgain starts a container whose moment has come, unless it was told to stay ended meanwhile.
func (e *Engine) startAgain(ctx context.Context, id string) error {
	r, err := e.startAs(ctx, id, &StartOptions{Detach: true}, true)
	if err != nil {
		return err
	}
	return r.Leave()
}

// prepareStart takes note of who starts a container whose lock the caller holds: again is its policy.
func (r *Run) prepareStart(again bool) error {
	r.again = again
	c := r.record
	if !again {
		r.before.Restarting, r.before.RestartDelay = false, 0
		c.RestartCount = 0
		err := os.Remove(r.e.haltPath(c.ID))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if !c.State.Restarting || r.e.halted(c.ID) {
		return errors.Join(conflict("container %s is not to be started again", c.Name), r.e.noRestart(c))
	}
	c.RestartCount++
	return nil
}

// notStarted is what is written down of a container that could not be started. interrupted is one whose start was given up.
func (r *Run) notStarted(why error, interrupted bool) {
	r.record.State = r.before
	if r.again {
		r.record.RestartCount--
		if interrupted { // the next supervisor will
			return
		}
		r.record.State.Restarting = false
	}
	r.record.State.Error, r.record.State.ExitCode = why.Error(), ExitCode(why)
}
