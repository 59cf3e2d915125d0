package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/namespace"
)

// watch waits for the process's end, notes it and lets after add to it. Its goroutine, the one of a process that
// has nothing to copy, is parked with the runtime's poller, not on a thread.
func (p *Process) watch(after func(*State) error) {
	r := &p.run
	end, err := r.proc.Wait(context.Background())
	s := &State{Started: r.startedAt, Ended: time.Now()}
	if err == nil {
		s.Code, s.Signal, s.CoreDumped = end.Code, syscall.Signal(end.Signal), end.CoreDumped
		s.UserTime, s.SystemTime, s.MaxRSS = end.UserTime, end.SystemTime, end.MaxRSS
		if !end.Ended.IsZero() {
			s.Ended = end.Ended
		}
	} else {
		s.Code = -1
		err = fmt.Errorf("container: wait for %s: %w", p, err)
	}
	lost, waited := err != nil, end
	if e := after(s); err == nil {
		err = e
	}
	_ = r.proc.Close()
	r.mu.Lock()
	r.end, r.endErr, r.lost, r.waited = s, err, lost, waited
	close(r.exited)
	r.mu.Unlock()
}

// ended takes the container down when its own process has ended.
func (c *Container) ended(s *State, ward *namespace.Ward) error {
	var errs []error
	c.endForkServer()
	c.groupMu.Lock()
	var folders []string
	if g := c.group; g != nil {
		folders = g.Paths()
		if !isNew(c.Namespaces.PID) {
			errs = append(errs, c.killGroup()) // the others: in a PID namespace of its own they have ended with their init
		}
		stats, err := g.Totals()
		if err == nil {
			// Of a scope's groups on v1 systemd may have removed that of memory only.
			s.Cgroup, s.OOMKilled = stats, stats.Memory.OOMKills > 0 || c.Scope != nil && c.notedOOM()
			c.oomAtEnd = stats.Memory.OOMKills
		}
		removed := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
		if removed && (c.kept() != nil || c.Scope != nil) {
			s.OOMKilled, err = c.notedOOM(), nil // another program, or systemd, has seen the end, too
		}
		errs = append(errs, err, c.noteOOM(s))
	} else {
		s.OOMKilled = c.notedOOM()
	}
	c.groupMu.Unlock()
	c.scoping.done()
	if c.pool == nil || !c.pool.clear(c) {
		errs = append(errs, c.removeGroup(), c.keeperEnded(), ward.Release())
		c.scopeEnded(folders)
	}
	errs = append(errs, c.hooks.end())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("container: take down %s: %w", c, err)
	}
	return nil
}

// Wait waits until the command has ended, and what is copied to and from it; it then closes the pipes of StdinPipe and
// its kin and sets State. Of a container's own process the control group is gone by then. ctx bounds the waiting only:
// when it ends first its error is returned, and Wait can be called again.
//
// The error is nil if the command ended with status 0 and nothing went wrong with the copying, an [*ExitError] if it
// ended otherwise. Unlike that of os/exec, Wait may be called again, and by several goroutines: all get the
// same answer.
func (p *Process) Wait(ctx context.Context) error {
	r := &p.run
	r.mu.Lock()
	exited := r.exited
	r.mu.Unlock()
	if exited == nil {
		return errors.New("container: not started")
	}
	select {
	case <-exited:
	default:
		select {
		case <-exited:
		case <-ctx.Done():
			return fmt.Errorf("container: wait for %s: %w", p, context.Cause(ctx))
		}
	}
	select {
	case r.finishing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("container: wait for %s: %w", p, context.Cause(ctx))
	}
	defer func() { <-r.finishing }()
	if !r.finished {
		copied, done := p.awaitCopies(ctx)
		if !done {
			return fmt.Errorf("container: wait for the output of %s: %w", p, context.Cause(ctx))
		}
		closeAll(&p.io.ours)
		closeAll(&p.io.users)
		p.State = r.end
		r.finished, r.result = true, p.verdict(cmp.Or(copied, p.endShare()))
	}
	return r.result
}

// awaitCopies waits for the goroutines that copy, WaitDelay at most from the command's end if that is set.
func (p *Process) awaitCopies(ctx context.Context) (err error, done bool) { //nolint:revive
	if p.io.done == nil {
		return nil, true
	}
	select { // not worth a timer
	case err := <-p.io.done:
		return err, true
	default:
	}
	var expired <-chan time.Time
	if p.WaitDelay > 0 {
		timer := time.NewTimer(time.Until(p.run.end.Ended.Add(p.WaitDelay)))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case err := <-p.io.done:
		return err, true
	case <-ctx.Done():
		return nil, false
	case <-expired:
		closeAll(&p.io.ours)
		<-p.io.done // whose error may come from the closing
		return ErrWaitDelay, true
	}
}

// verdict is what Wait returns.
func (p *Process) verdict(copied error) error {
	r := &p.run
	var exit *ExitError
	if !r.end.Success() {
		exit = &ExitError{State: r.end, Cause: r.cause}
	}
	switch {
	case r.lost: // the status is not known
		return r.endErr
	case exit != nil:
		return exit
	case r.endErr != nil:
		return r.endErr
	case r.cause != nil:
		return r.cause
	}
	return copied
}

// Run starts the container and waits for it. When ctx ends while it runs, it gets StopSignal, and is killed WaitDelay
// later if it has not ended; the [*ExitError] then has ctx's error as its cause.
func (c *Container) Run(ctx context.Context) error {
	after, err := c.startUnwatched(ctx)
	if err != nil {
		return err
	}
	return c.runOn(ctx, after, c.Kill, c.wake)
}

// Output runs the container as Run does and returns its standard output. If Stderr is nil, an [*ExitError] gets the
// standard error.
func (c *Container) Output(ctx context.Context) ([]byte, error) { return c.output(ctx, c.Run) }

// CombinedOutput runs the container as Run does and returns its standard output and error in one.
func (c *Container) CombinedOutput(ctx context.Context) ([]byte, error) {
	return c.combinedOutput(ctx, c.Run)
}

// runOn watches the process until its end, in place of a goroutine that would have to be woken for that and to wake this one, and ends
// it when ctx does.
func (p *Process) runOn(ctx context.Context, after func(*State) error, kill func() error, wake func()) error {
	stopped := make(chan struct{})
	ended := context.AfterFunc(ctx, func() {
		defer close(stopped)
		select {
		case <-p.run.exited:
			return
		default:
		}
		p.run.mu.Lock()
		p.run.cause = context.Cause(ctx)
		p.run.mu.Unlock()
		grace, cancel := context.WithTimeout(context.Background(), p.WaitDelay)
		defer cancel()
		_ = p.stop(grace, kill, wake)
	})
	p.watch(after)
	if !ended() {
		<-stopped
	}
	return p.Wait(context.Background())
}
