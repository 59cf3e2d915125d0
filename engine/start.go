package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/network"
)

// StartOptions wire a container's standard files, as the fields of [container.Process] of the same names.
type StartOptions struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// TTYSize is the terminal's first size.
	TTYSize namespace.WinSize
	// Audit is that of [network.SandboxOptions], for a container with an egress policy.
	Audit func(network.Attempt)
	// Detach lets the container outlive this program: what it prints goes to its log, see [Engine.Log], and
	// [Engine.Adopt] finds it again. Stdin, Stdout and Stderr are nil then.
	Detach bool
	// Shared keeps what a container in the foreground prints in its log, too, and lets other programs take part in it as in one with Detach:
	// [Engine.Adopt], to execute commands in it, attach, pause. It ends with this program all the same. What it prints reaches
	// Stdout and Stderr first, whatever becomes of the log. It changes nothing with Detach. See [container.Container].Shared.
	Shared bool
	// Commit, if it is not nil, has an image made of what the container has left when its command has ended with status 0, before
	// AutoRemove removes it: a build's step. Parent is set to the container's image. See [Run.Image]. It does not go with Detach.
	Commit *image.CommitOptions
}

// A Run is a container that this engine started and has to wait for: it runs in the foreground, and ends with the host
// program, unless it was started with StartOptions.Detach.
type Run struct {
	e    *Engine
	c    *container.Container
	root *namespace.Root
	lock *durable.Lock
	held []io.Closer // volumes in use, the image

	record *Container
	before State // that of the record before the start

	reserved *network.Reservation // until it is the sandbox's
	sandbox  *network.Sandbox     // nil without networks of its own

	audited    func(network.Attempt)
	egressLog  *os.File
	supervised bool // its networks are a supervisor's
	again      bool // its restart policy has it started
	watched    bool // by a supervisor: its restart policy or health check needs one

	logStart namespace.LogPosition // of State

	probing   sync.WaitGroup // in the foreground
	endProbes context.CancelFunc

	commitBy *image.CommitOptions // StartOptions.Commit
	image    *image.Image         // that it made

	ending sync.Mutex // Wait's
	ended  bool
	result error
}

// Start starts the container that ref names. ctx bounds the set-up. If the command cannot be executed the error is a
// *container.StartError, the container stays as it was with the error noted, and with AutoRemove it is removed.
func (e *Engine) Start(ctx context.Context, ref string, o *StartOptions) (*Run, error) {
	if o == nil {
		o = &StartOptions{}
	}
	if o.Detach && o.Commit != nil {
		return nil, invalid("a detached container cannot be committed by its start")
	}
	return e.startAs(ctx, ref, o, false)
}

// startAs is Start; again says that the container's restart policy has it started.
func (e *Engine) startAs(ctx context.Context, ref string, o *StartOptions, again bool) (*Run, error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	// Others hold this lock for a moment only, unless the container runs.
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	l, err := durable.Acquire(wait, e.path(c.ID, "lock"), true)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, conflict("container %s is already running", c.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("start container %s: %w", c.ShortID(), err)
	}
	if c, err = e.reread(ctx, c.ID); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	r := &Run{e: e, lock: l, record: c, before: c.State}
	if err := r.prepareStart(again); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := r.start(ctx, o); err != nil {
		return nil, errors.Join(err, r.failed(context.WithoutCancel(ctx), err, ctx.Err() != nil), l.Close())
	}
	if !o.Detach {
		e.foreground.Store(c.ID, r)
	}
	return r, nil
}

func (r *Run) start(ctx context.Context, o *StartOptions) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.release(context.WithoutCancel(ctx)))
		}
	}()
	if err := r.e.discard(ctx, r.record); err != nil {
		return err
	}
	r.audited, r.commitBy = o.Audit, o.Commit
	if err := r.chooseSupervisor(ctx, o); err != nil {
		return err
	}
	if err := r.reserve(); err != nil {
		return err
	}
	r.record.Gateway = r.e.gateway(ctx, r.record)
	if err := r.mount(ctx); err != nil {
		return err
	}
	if err := r.addUser(); err != nil {
		return err
	}
	if err := r.relabel(ctx); err != nil {
		return err
	}
	r.record.LinkEnv = r.e.linkEnv(ctx, r.record)
	if r.c, err = r.build(ctx); err != nil {
		return err
	}
	r.hooks()
	r.c.Stdin, r.c.Stdout, r.c.Stderr, r.c.TTYSize = o.Stdin, o.Stdout, o.Stderr, o.TTYSize
	if o.Detach {
		if err := r.keep(); err != nil {
			return err
		}
		if err := r.aloneFiles(); err != nil {
			return err
		}
	} else if o.Shared {
		if err := r.share(); err != nil {
			return err
		}
	}
	if err := r.joinNetwork(ctx, &r.c.Namespaces.Network); err != nil {
		return err
	}
	if err := r.joinPID(ctx); err != nil {
		return err
	}
	if err := r.joinIPC(ctx); err != nil {
		return err
	}
	r.c.Setup = func(ctx context.Context, pid int) error {
		if err := r.connect(ctx, pid); err != nil {
			return err
		}
		return r.runs(pid)
	}
	if err := r.c.Start(ctx); err != nil {
		return err
	}
	r.e.note("start", r.record)
	r.assureSupervised(ctx)
	r.beginProbes()
	return nil
}

// runs writes down that the container runs, before its command does: if this program is killed after that, whoever looks
// next knows that the container was started.
func (r *Run) runs(pid int) error {
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	r.record.State = State{
		Status: Running, Pid: pid, StartTime: start, BootID: kernel.BootID(), Started: time.Now().UTC(),
		Cgroups: r.c.CgroupPaths(), Detached: r.c.Keep != nil, Shared: r.c.Shared != nil, Supervised: r.supervised, RestartDelay: r.before.RestartDelay,
		LogStart: r.logStart,
	}
	return r.e.write(r.record)
}

// failed writes down that the container did not start.
func (r *Run) failed(ctx context.Context, why error, interrupted bool) error {
	if r.record.Config.AutoRemove {
		return r.e.remove(ctx, r.record, true)
	}
	r.notStarted(why, interrupted)
	return r.e.write(r.record)
}

// Container returns the container as it was started, and after Wait as it has ended.
func (r *Run) Container() *Container {
	r.ending.Lock()
	defer r.ending.Unlock()
	c := *r.record
	return &c
}

// Process returns the running container, to signal it, resize its terminal or run commands in it. Wait for it by Wait of
// the Run alone.
func (r *Run) Process() *container.Container { return r.c }

// end does what there is to do when the container has ended: err is how.
func (r *Run) end(ctx context.Context, err error) error {
	r.awaitProbes()
	if r.lock != nil && r.c.Keep != nil { // others may have changed its document since: whoever sees the end reads it again
		if e := r.release(ctx); e != nil {
			r.e.log.Warn("container's mounts", "id", r.record.ID, "error", e)
		}
		e := r.lock.Close()
		if r.lock = nil; e != nil {
			return errors.Join(err, e)
		}
	}
	if r.lock == nil {
		return errors.Join(err, r.settle(ctx))
	}
	state := r.over()
	var exit *container.ExitError
	if err != nil && !errors.As(err, &exit) {
		state.Error = err.Error()
	}
	r.record.State = state
	if e := r.release(ctx); e != nil {
		r.e.log.Warn("container's mounts", "id", r.record.ID, "error", e)
	}
	if err == nil && r.commitBy != nil {
		err = r.commit(ctx)
	}
	var kept error
	if r.record.Config.AutoRemove {
		r.reread()
		r.e.noteEnd(r.record)
		kept = r.e.remove(ctx, r.record, true)
	} else {
		kept = r.writeEnd(ctx)
		r.e.noteEnd(r.record)
	}
	if e := errors.Join(kept, r.lock.Close()); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// writeEnd writes the end down. The rest is of the next start, and may have been changed meanwhile.
func (r *Run) writeEnd(ctx context.Context) (err error) {
	l, err := r.e.lock(ctx) // against those who change them
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r.reread()
	return r.e.write(r.record)
}

// reread takes over what others have changed in the container's document since it was started.
func (r *Run) reread() {
	if c, err := readRecord(r.e.path(r.record.ID)); err == nil {
		c.State, c.Endpoints = r.record.State, r.record.Endpoints
		r.record = c
	}
}

// over is the state of the container after its end.
func (r *Run) over() State {
	was := &r.record.State
	state := State{Status: Exited, ExitCode: 255, Detached: was.Detached, Shared: was.Shared, Started: was.Started, Finished: time.Now().UTC(), LogStart: was.LogStart}
	if s := r.c.State; s != nil {
		state.ExitCode, state.OOMKilled, state.Finished = stateCode(s), s.OOMKilled, s.Ended.UTC()
	}
	return state
}

// release lets go of the root file system and what is mounted in it.
func (r *Run) release(ctx context.Context) error {
	err := r.disconnect(ctx)
	if r.root != nil {
		err = errors.Join(err, r.root.Close())
		r.root = nil
	}
	for _, h := range r.held {
		err = errors.Join(err, h.Close())
	}
	r.held = nil
	return err
}

// Run makes a container, starts it and waits for it: [Engine.Create], [Engine.Start] and [Run.Wait]. When ctx ends, the
// command gets its stop signal and ten seconds later is killed.
func (e *Engine) Run(ctx context.Context, cfg *Config, o *StartOptions) (*Container, error) {
	c, err := e.Create(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r, err := e.Start(ctx, c.ID, o)
	if err != nil {
		return c, err
	}
	err = r.Wait(ctx)
	if ctx.Err() != nil && r.Container().State.Status == Running {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = r.c.Stop(stop)
		err = r.Wait(context.WithoutCancel(ctx))
	}
	return r.Container(), err
}
