package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caisson-engine/caisson/internal/control"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/network"
)

// SuperviseOptions are the optional settings of Supervise.
type SuperviseOptions struct {
	// Idle is how long there may be nothing to do before Supervise returns. Zero means for ever.
	Idle time.Duration
	// Ready, if it is not nil, is called when the supervisor answers, and serves what one before it served.
	Ready func()
	// Ends has the end of every container that was started with StartOptions.Detach written down at once, whichever program started it, as
	// who reads events expects ([Engine.OpenEvents]). By default that is done for those that need a supervisor, and for others when
	// somebody looks.
	Ends bool
	// LeaveUnit moves this process out of the service or scope of systemd that it is in, whose end would be its end, too (KillMode), to
	// where detached containers of such programs are: a control group below "/caisson", which stays. Where that is not allowed it stays
	// where it is.
	LeaveUnit bool
}

// Supervise serves what containers need while they run and no program that started them need be there for: the networks of those that were
// started with StartOptions.Detach, which are interfaces of this process in user mode, and otherwise their names, their record of what
// they try to connect to, and ports published on the loopback address. It executes their health checks, and sees to it that one with
// AutoRemove is removed when it ends. Engines that have the same folder open call it by a socket there.
//
// It returns nil when ctx has ended, or when it was idle for long enough. Containers go on then, and the next supervisor takes over; until
// then nobody serves them, and in user mode their connections are broken. While another process supervises the folder the error is a [Conflict].
func (e *Engine) Supervise(ctx context.Context, o *SuperviseOptions) (err error) {
	if o == nil {
		o = &SuperviseOptions{}
	}
	l, held, err := durable.TryAcquire(filepath.Join(e.dir, "supervisor.lock"), true)
	if err != nil {
		return fmt.Errorf("supervise: %w", err)
	}
	if held {
		return conflict("another process supervises %s", e.dir)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	// For whoever wants to know.
	if err := l.File().Truncate(0); err == nil {
		_, _ = fmt.Fprintln(l.File(), os.Getpid())
	}
	if o.LeaveUnit {
		if err := e.leaveUnit(os.Getpid()); err != nil {
			e.log.Warn("supervisor stays in its control group", "error", err)
		}
	}
	server, err := control.Listen(e.socketPath())
	if err != nil {
		return fmt.Errorf("supervise: %w", err)
	}
	s := &supervisor{e: e, served: make(map[string]*served), pending: make(map[string]*pending), changed: make(chan struct{}, 1), over: make(chan struct{})}
	e.supervisor.Store(s)
	defer e.supervisor.Store(nil)
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var answering sync.WaitGroup
	if s.ends = o.Ends; s.ends {
		r, err := e.OpenEvents(time.Time{}) // before the containers are looked at: none is missed
		if err != nil {
			s.cancel()
			return errors.Join(fmt.Errorf("supervise: %w", err), server.Close())
		}
		answering.Go(func() { s.followStarts(r) })
	}
	s.resumeAll()
	if o.Ready != nil {
		o.Ready()
	}
	answering.Go(func() { server.Serve(s.answer) })
	s.untilIdle(ctx, o.Idle)
	s.finishStarts()
	err = server.Close()
	s.cancel()
	answering.Wait()
	s.watching.Wait()
	s.forgetAll()
	return err
}

func (e *Engine) socketPath() string { return filepath.Join(e.dir, "supervisor.socket") }

// A supervisor is one call of Supervise.
type supervisor struct {
	e        *Engine
	ctx      context.Context
	cancel   context.CancelFunc
	watching sync.WaitGroup
	ends     bool // see SuperviseOptions

	turn sync.Mutex // of who changes what is served

	mu      sync.Mutex
	served  map[string]*served // by container; changed by who has the turn
	pending map[string]*pending
	over    chan struct{} // closed when no container is started again any more
	starts  sync.WaitGroup
	calls   int // that are being answered, and ends that are waited for or being written down
	ending  bool
	changed chan struct{}
}

// served is a container whose networks the supervisor serves.
type served struct {
	proc *namespace.Process
	box  *network.Sandbox
	log  *os.File
}

// begin notes that there is something to do. It is false if the supervisor is about to end.
func (s *supervisor) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.calls++
	return true
}

func (s *supervisor) done() {
	s.mu.Lock()
	s.calls--
	s.mu.Unlock()
	s.notify()
}

// notify has untilIdle look again.
func (s *supervisor) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// untilIdle returns when the context has ended, or nothing was there to do for so long.
func (s *supervisor) untilIdle(ctx context.Context, idle time.Duration) {
	var over <-chan time.Time
	for {
		s.mu.Lock()
		busy := s.busy()
		s.mu.Unlock()
		if over = nil; idle > 0 && !busy {
			over = time.After(idle)
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return
		case <-over:
			s.mu.Lock()
			s.ending = !s.busy()
			ending := s.ending
			s.mu.Unlock()
			if ending {
				return
			}
		}
	}
}

func (s *supervisor) busy() bool { return s.calls > 0 || len(s.served) > 0 || len(s.pending) > 0 }

// find returns what is served of a container.
func (s *supervisor) find(id string) *served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[id]
}

// resumeAll serves the containers that a supervisor before this one served.
func (s *supervisor) resumeAll() {
	ids, err := s.e.ids()
	if err != nil {
		s.e.log.Warn("containers to supervise", "error", err)
	}
	for _, id := range ids {
		if err := s.resume(s.ctx, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.e.log.Warn("networks of a container that runs", "id", id, "error", err)
		}
	}
}

// followStarts watches containers as they are started, until the supervisor ends.
func (s *supervisor) followStarts(r *EventReader) {
	defer r.Close()
	for {
		ev, err := r.Next(s.ctx)
		if err != nil {
			if s.ctx.Err() == nil {
				s.e.log.Warn("events", "error", err)
			}
			return
		}
		if ev.Type != ContainerEvent || ev.Action != "start" || !isID(ev.ID) || !s.begin() {
			continue
		}
		if err := s.resume(s.ctx, ev.ID); err != nil && s.ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) {
			s.e.log.Warn("container that was started", "id", ev.ID, "error", err)
		}
		s.done()
	}
}

// resume serves a container that runs, and that nobody serves, and starts again one that is to be.
func (s *supervisor) resume(ctx context.Context, id string) error {
	if s.find(id) != nil {
		return nil
	}
	c, err := s.e.load(ctx, id)
	if err != nil || c.State.Status != Running {
		if err == nil && c.State.Restarting {
			s.restartLater(id)
		}
		return err
	}
	if !c.State.Supervised && !(c.State.Detached && (c.watched() || s.ends)) {
		return nil
	}
	err = s.watch(ctx, id, c)
	if errors.Is(err, os.ErrProcessDone) { // it has just ended; who has started it, and calls this, holds its lock
		if s.begin() {
			s.watching.Go(func() {
				defer s.done()
				s.afterEnd(id, c.State.Pid)
			})
		}
		return nil
	}
	return err
}

// watch serves a container that runs until it ends.
func (s *supervisor) watch(ctx context.Context, id string, c *Container) (err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.find(id) != nil {
		return nil
	}
	v := &served{}
	if v.proc, err = findProcess(c.State.Pid, c.State.StartTime); err != nil {
		return err
	}
	if c.State.Supervised {
		o := c.sandboxOptions()
		if o.Audit, v.log, err = s.e.audit(c, nil); err == nil {
			v.box, err = s.e.networks.Sandbox(c.State.Pid, o)
		}
		if err != nil {
			return errors.Join(err, v.close())
		}
		err = v.box.Serve(ctx) // what it can
	}
	s.keep(c, v)
	if err != nil {
		s.watching.Go(func() { s.serveAgain(v) })
	}
	return err
}

// servePause is between two attempts at what could not be served of a container, such as a port that is somebody else's.
const servePause = time.Second

// serveAgain tries until all is served, or nothing is any more.
func (s *supervisor) serveAgain(v *served) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(servePause):
		}
		if err := v.box.Serve(s.ctx); err == nil || errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// findProcess finds the process that began at a time.
func findProcess(pid int, began uint64) (*namespace.Process, error) {
	p, err := namespace.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	if start, err := startTime(pid); err != nil || start != began {
		return nil, errors.Join(os.ErrProcessDone, p.Close())
	}
	return p, nil
}

// keep serves a container until it ends. The caller has the turn.
func (s *supervisor) keep(c *Container, v *served) {
	id := c.ID
	s.mu.Lock()
	s.served[id] = v
	s.calls++ // until the end is seen to: it may be released before, by somebody else who saw it first
	s.mu.Unlock()
	s.watching.Go(func() {
		defer s.done()
		if err := v.proc.AwaitEnd(s.ctx); err != nil && s.find(id) == v {
			return
		}
		s.turn.Lock()
		err := s.release(id, v)
		s.turn.Unlock()
		if err != nil {
			s.e.log.Warn("networks of a container that has ended", "id", id, "error", err)
		}
		s.afterEnd(id, v.proc.Pid())
	})
	if c.Healthcheck.Probes() {
		s.watching.Go(func() { s.probe(id, v) })
	}
}

// afterEnd sees to it that a container's end is written down, and to what comes after that.
func (s *supervisor) afterEnd(id string, pid int) {
	// Whoever looks first writes it down, and with AutoRemove removes the container.
	var c *Container
	err := s.e.awaitEnd(s.ctx, id, pid)
	if err == nil {
		c, err = s.e.load(s.ctx, id)
	}
	switch {
	case err == nil && c.State.Restarting:
		s.restartLater(id)
		return
	case err == nil && c.State.Status == Running: // somebody has started it meanwhile, who found it served still
		err = s.resume(s.ctx, id)
	}
	if err != nil && s.ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) {
		s.e.log.Warn("container that has ended", "id", id, "error", err)
	}
}

// release ends the networks of a container, if v is what is served of it. The caller has the turn.
func (s *supervisor) release(id string, v *served) error {
	if v == nil || s.find(id) != v {
		return nil
	}
	s.mu.Lock()
	delete(s.served, id)
	s.mu.Unlock()
	var err error
	if v.box != nil {
		err = v.box.Close()
	}
	return errors.Join(err, v.close())
}

func (v *served) close() error {
	err := closeLog(&v.log)
	if v.proc != nil {
		err = errors.Join(err, v.proc.Close())
	}
	return err
}

// forgetAll leaves all containers to the next supervisor. Nobody calls any more, but this engine's letGo may be under way.
func (s *supervisor) forgetAll() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	all := s.served
	s.served = make(map[string]*served)
	s.mu.Unlock()
	for id, v := range all {
		if v.box != nil {
			v.box.Forget()
		}
		if err := v.close(); err != nil {
			s.e.log.Warn("supervised container", "id", id, "error", err)
		}
	}
}
