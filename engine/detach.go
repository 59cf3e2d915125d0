package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

// keep prepares the container for outliving this program. Its keeper holds the locks: the container's own, by which all
// see that it runs, and those of its volumes.
func (r *Run) keep() error {
	dir := r.e.keepDir(r.record.ID)
	if err := r.keepDir(); err != nil {
		return err
	}
	if !r.c.NoCgroup && r.c.Scope == nil {
		r.c.Cgroup = r.e.keptCgroup(r.record)
	}
	var err error
	if r.c.Keep, err = r.keepOf(dir); err != nil {
		return err
	}
	r.c.Keep.Hold = []*os.File{r.lock.File()}
	for _, h := range r.held {
		if u, ok := h.(*volume.Use); ok {
			r.c.Keep.Hold = append(r.c.Keep.Hold, u.File())
		}
	}
	return nil
}

func (r *Run) keepOf(dir string) (*container.Keep, error) {
	cfg := &r.record.Config
	size, err := cfg.logSize()
	return &container.Keep{Dir: dir, LogSize: size, NoLog: cfg.LogDriver == noLogDriver, Stdin: cfg.OpenStdin}, err
}

// share prepares the container for others that take part in it.
func (r *Run) share() (err error) {
	if err := r.keepDir(); err != nil {
		return err
	}
	r.c.Shared, err = r.keepOf(r.e.keepDir(r.record.ID))
	return err
}

// keepDir makes the keeper's folder. A container that was started before goes on with its log.
func (r *Run) keepDir() (err error) {
	dir := r.e.keepDir(r.record.ID)
	err = namespace.ContinueLog(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Mkdir(dir, 0o700)
	}
	if r.logStart = r.before.LogStart; err == nil && !r.again {
		r.logStart, err = namespace.EndOfLog(dir)
	}
	return err
}

// discard removes the control group that is left where the last start was killed. The caller holds the container's
// lock: it does not run.
func (e *Engine) discard(ctx context.Context, c *Container) error {
	left, err := c.found()
	if err != nil {
		return err
	}
	_, err = os.Lstat(e.keepDir(c.ID))
	kept := err == nil
	if kept {
		left.Keep = &container.Keep{Dir: e.keepDir(c.ID)}
	}
	if left.Scope != nil {
		return left.Discard(ctx)
	}
	left.Cgroup = e.cgroup(c)
	if kept { // in background, or in the foreground of a program that shared it
		err := left.Discard(ctx)
		if name := e.keptCgroup(c); err != nil || name == left.Cgroup {
			return err
		}
		left.Cgroup = e.keptCgroup(c)
	}
	return errors.Join(left.Discard(ctx), e.discardBundle(c.ID))
}

func (e *Engine) keepDir(id string) string { return e.path(id, "keep") }

// Leave lets go of a container that was started with StartOptions.Detach, or adopted, which runs on. Wait is not called any
// more.
func (r *Run) Leave() error {
	r.forget()
	r.supervised = false // it goes on serving
	err := r.release(context.Background())
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
		r.lock = nil
	}
	return err
}

// Adopt returns the running container that ref names, which was started with StartOptions.Detach or Shared by this program or another
// one: to execute commands in it, or to wait for it. ctx bounds how long its keeper is asked. One that does not run, or
// runs in the foreground of a program that does not share it, is a [Conflict].
func (e *Engine) Adopt(ctx context.Context, ref string) (*Run, error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	if c.State.Status != Running {
		return nil, conflict("container %s is not running", c.Name)
	}
	if !c.State.Kept() {
		return nil, conflict("container %s runs in the foreground of another program: only one that was started with "+
			"Detach or Shared can be entered", c.Name)
	}
	running, err := c.found() // it has its root already
	if err != nil {
		return nil, err
	}
	running.Keep = &container.Keep{Dir: e.keepDir(c.ID)}
	if len(c.State.Cgroups) == 0 { // it was started without
		running.NoCgroup, running.Cgroup, running.Scope = true, "", nil
	}
	if err := running.Adopt(ctx); err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	return &Run{e: e, c: running, record: c}, nil
}

// settle writes down how a container ended whose lock is its keeper's.
func (r *Run) settle(ctx context.Context) error {
	for nap := time.Millisecond; ; nap = min(2*nap, 50*time.Millisecond) {
		l, held, err := durable.TryAcquire(r.e.path(r.record.ID, "lock"), true)
		var c *Container
		switch {
		case err != nil:
		case held:
			c, err = readRecord(r.e.path(r.record.ID))
		default:
			c, err = r.e.reread(ctx, r.record.ID)
			err = errors.Join(err, l.Close())
		}
		was := &r.record.State
		switch {
		case errors.Is(err, fs.ErrNotExist): // it is removed
			gone := *r.record
			gone.State = r.over()
			r.record = &gone
			return nil
		case err != nil:
			return err
		case c.State.Status != Running:
			r.record = c
			return nil
		case c.State.Pid != was.Pid || c.State.StartTime != was.StartTime || c.State.BootID != was.BootID:
			// Somebody has seen the end, and started it again.
			c.State = r.over()
			r.record = c
			return nil
		}
		time.Sleep(nap) // its keeper is about to end
	}
}

// ending reads how a detached container ended from what its keeper wrote, and removes its control group.
func (e *Engine) ending(ctx context.Context, c *Container) (*State, error) {
	ended, err := c.found()
	if err != nil {
		return nil, err
	}
	ended.Keep = &container.Keep{Dir: e.keepDir(c.ID)}
	if err := ended.Adopt(ctx); err != nil {
		return nil, err
	}
	err = ended.Wait(ctx)
	if ended.State == nil {
		return nil, err
	}
	return &State{
		Status: Exited, ExitCode: stateCode(ended.State), OOMKilled: ended.State.OOMKilled, Detached: true,
		Started: c.State.Started, Finished: ended.State.Ended.UTC(), LogStart: c.State.LogStart,
	}, nil
}

// LogTime is how Docker prints a frame's time before its lines, for [time.Time.Format]: as wide for each.
const LogTime = "2006-01-02T15:04:05.000000000Z07:00"

// Log opens what the container that ref names, which was started with StartOptions.Detach or Shared, has printed, by all its starts.
func (e *Engine) Log(ctx context.Context, ref string) (*namespace.LogReader, error) {
	return e.logFrom(ctx, ref, func(*Container) (at namespace.LogPosition) { return at })
}

// LogSinceStart is [Engine.Log] without what was printed before the last start, those by its restart policy not counted.
func (e *Engine) LogSinceStart(ctx context.Context, ref string) (*namespace.LogReader, error) {
	return e.logFrom(ctx, ref, func(c *Container) namespace.LogPosition { return c.State.LogStart })
}

func (e *Engine) logFrom(ctx context.Context, ref string, from func(*Container) namespace.LogPosition) (*namespace.LogReader, error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !c.State.Kept() {
		return nil, conflict("container %s has no log: only one that was started with Detach or Shared has", c.Name)
	}
	if c.Config.LogDriver == noLogDriver {
		return nil, fmt.Errorf("container %s has no log: configured logging driver does not support reading: %w", c.Name, errors.ErrUnsupported)
	}
	log, _, err := namespace.OpenLogAt(e.keepDir(c.ID), from(c))
	return log, err
}

// StopDelay is for how long who stops the container is to wait before it is killed, if they choose nothing: less than zero is for ever.
func (c *Container) StopDelay() time.Duration {
	if t := c.Config.StopTimeout; t != nil {
		return time.Duration(*t) * time.Second
	}
	return StopTimeout
}

// StopTimeout is how long Stop waits before it kills, if it is told nothing else.
const StopTimeout = 10 * time.Second

// Stop sends the container that ref names its stop signal and waits for its end; when timeout has passed, it kills it.
// A negative timeout waits for ever. One that does not run is left as it is, and its restart policy does not have it started any more.
// ctx bounds the whole: when it ends, the container has its stop signal and is not killed.
func (e *Engine) Stop(ctx context.Context, ref string, timeout time.Duration) error {
	return e.StopBySignal(ctx, ref, 0, timeout)
}

// StopBySignal is [Engine.Stop] with another signal than the container's own, which 0 stands for.
func (e *Engine) StopBySignal(ctx context.Context, ref string, sig syscall.Signal, timeout time.Duration) (err error) {
	c, err := e.Inspect(ctx, ref)
	if err == nil && c.restarts() {
		if err = e.halt(ctx, c); err == nil {
			c, err = e.Inspect(ctx, c.ID)
		}
	}
	if err != nil || c.State.Status != Running {
		return err
	}
	sig = cmp.Or(sig, syscall.Signal(c.StopSignal))
	e.note("kill", c, "signal", strconv.Itoa(int(sig)))
	defer func() {
		if err == nil {
			e.note("stop", c)
		}
	}()
	grace := ctx
	if timeout >= 0 {
		var cancel context.CancelFunc
		grace, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if c.State.Detached {
		return e.stopKept(ctx, grace, c, sig)
	}
	if err := e.signal(c, sig); err != nil {
		return err
	}
	if c.State.Paused {
		thaw(c.State.Cgroups)
	}
	if err := e.awaitEnd(grace, c.ID, c.State.Pid); err == nil || ctx.Err() != nil {
		return err
	}
	if err := e.signal(c, syscall.SIGKILL); err != nil {
		return err
	}
	return e.awaitEnd(ctx, c.ID, c.State.Pid)
}

// stopKept stops a detached container. It is killed when grace has ended, and left as it is when ctx has.
func (e *Engine) stopKept(ctx, grace context.Context, c *Container, sig syscall.Signal) (err error) {
	r, err := e.Adopt(ctx, c.ID)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil // it has ended meanwhile
	}
	if err != nil {
		return err
	}
	defer func() {
		if r.c.State == nil {
			err = errors.Join(err, r.Leave())
		}
	}()
	if err := r.c.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if r.c.Paused() {
		_ = r.c.Resume()
	}
	_ = r.Wait(grace)
	if r.c.State != nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := r.c.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	dead, cancel := context.WithTimeout(ctx, killed)
	defer cancel()
	_ = r.Wait(dead)
	if r.c.State == nil && ctx.Err() == nil && dead.Err() != nil {
		return fmt.Errorf("stop container %s: it has not ended %v after SIGKILL", c.Name, killed)
	}
	return ctx.Err()
}

// killed bounds the wait for the end of what was killed: a process can be inside the kernel for a while.
const killed = 10 * time.Second

// Kill sends a signal to the command of the running container that ref names. After one that asks to end, its restart policy does not
// have it started again.
func (e *Engine) Kill(ctx context.Context, ref string, sig syscall.Signal) (err error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	if c.State.Status != Running {
		return conflict("cannot kill container: %s: container %s is not running", ref, c.ShortID())
	}
	defer func() {
		if err == nil {
			e.note("kill", c, "signal", strconv.Itoa(int(sig)))
		}
	}()
	if c.State.Detached {
		r, err := e.Adopt(ctx, c.ID)
		if err != nil {
			return err
		}
		return r.Signal(ctx, sig)
	}
	return e.signal(c, sig)
}

// signal sends a signal to the container's first process, if it is still there.
func (e *Engine) signal(c *Container, sig syscall.Signal) error {
	p, err := c.process()
	if err != nil {
		return nil
	}
	defer func() { _ = p.Release() }()
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// WaitFor waits until the container that ref names has ended, whoever started it, and returns its exit code; at once if it
// does not run. ctx bounds the waiting.
func (e *Engine) WaitFor(ctx context.Context, ref string) (int, error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return 0, err
	}
	_, own := e.foreground.Load(c.ID)
	if c.State.Status == Running && c.State.Kept() && !own {
		r, err := e.Adopt(ctx, c.ID)
		if err == nil {
			_ = r.Wait(ctx) // how it ended is in the record
			if ctx.Err() != nil && r.c.State == nil {
				return 0, ctx.Err()
			}
			return r.record.State.ExitCode, nil
		}
		if !errors.Is(err, fs.ErrExist) { // it has ended meanwhile
			return 0, err
		}
	}
	if err := e.awaitEnd(ctx, c.ID, 0); err != nil {
		return 0, err
	}
	if c, err = e.Inspect(ctx, c.ID); err != nil {
		return 0, err
	}
	return c.State.ExitCode, nil
}

// awaitEnd waits until a container does not run, or runs again: its first process is another one than pid, unless that is 0.
func (e *Engine) awaitEnd(ctx context.Context, id string, pid int) error {
	if own, err := e.awaitOwn(ctx, id, pid); own {
		return err
	}
	for nap := 2 * time.Millisecond; ; nap = min(2*nap, 100*time.Millisecond) {
		c, err := e.load(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || c.State.Status != Running || pid != 0 && c.State.Pid != pid {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(nap):
		}
	}
}
