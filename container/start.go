package container

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// manager finds out once how control groups are mounted; only success is kept.
var manager = func() func() (*cgroups.Manager, error) {
	var mu sync.Mutex
	var found *cgroups.Manager
	return func() (*cgroups.Manager, error) {
		mu.Lock()
		defer mu.Unlock()
		if found != nil {
			return found, nil
		}
		m, err := cgroups.Detect()
		if err == nil {
			found = m
		}
		return m, err
	}
}()

// undo is what a start has made so far and has to take back if it fails, last things first.
type undo []func()

func (u *undo) add(f func()) { *u = append(*u, f) }

func (u *undo) run() {
	for i := len(*u) - 1; i >= 0; i-- {
		(*u)[i]()
	}
}

// Start starts the container and returns when its command is being executed. ctx bounds the set-up: when it ends first,
// the start is undone. The error is a [*StartError], after which nothing is left, or says that Start was called before.
// After a success call Wait, which releases what the container holds.
func (c *Container) Start(ctx context.Context) error {
	after, err := c.startUnwatched(ctx)
	if err != nil {
		return err
	}
	go c.watch(after)
	return nil
}

// startUnwatched starts the container. The caller is to call watch with after.
func (c *Container) startUnwatched(ctx context.Context) (after func(*State) error, err error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	u := undo{c.io.abort}
	if c.held != nil {
		u.add(func() { _ = c.release() })
	}
	defer func() {
		if err != nil {
			u.run()
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Step: "start", Path: c.String(), Err: context.Cause(ctx)}
	}
	start := c.startWhole
	if c.held != nil {
		start = c.startHeld
	}
	ward, err := start(ctx, &u)
	if err != nil {
		return nil, err
	}
	after = func(s *State) error { return c.ended(s, ward) }
	if err := c.hooks.poststart(ctx, c.Pid()); err != nil {
		u = nil // the end undoes what there is
		return nil, errors.Join(err, c.giveUp(after))
	}
	if c.Keep != nil { // from here on it outlives the program
		_ = ward.Release()
	}
	c.closeTasks()
	return after, nil
}

// giveUp ends a container whose command is executed already.
func (c *Container) giveUp(after func(*State) error) error {
	_ = c.process().Signal(syscall.SIGKILL)
	c.watch(after)
	c.io.abort()
	if c.kept() == nil {
		return nil
	}
	return errors.Join(c.endShare(), namespace.ContinueLog(c.kept().Dir))
}

// closeTasks gives up the descriptors by which a process enters the control group, one a hierarchy, if no command is on its
// way in: only containers in which commands are executed need them again.
func (c *Container) closeTasks() {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	if c.group != nil && c.setUps.n == 0 {
		c.group.CloseTasks()
	}
}

// startWhole starts a container of which there is nothing yet.
func (c *Container) startWhole(ctx context.Context, u *undo) (*namespace.Ward, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.makeTargets()
	c.name = randomName()
	l, err := c.launch()
	if err != nil {
		return nil, err
	}
	if err := c.beginHooks(ctx, l, u); err != nil {
		return nil, err
	}
	scope, err := c.makeScope(ctx, u)
	if err != nil {
		return nil, err
	}
	ward := &namespace.Ward{}
	group, err := c.makeGroupMeanwhile(l, ward, u)
	if err == nil && group == nil {
		err = c.care(l, ward, u)
	}
	if err != nil {
		return nil, err
	}
	done, err := c.makeKeeperGroup(l, u)
	if err != nil {
		return nil, err
	}
	defer done()
	receive, finish, err := c.handNetwork(l)
	if err != nil {
		return nil, err
	}
	defer finish()
	if err := c.makeShare(u); err != nil {
		return nil, err
	}
	h := &holding{created: func(proc *namespace.Process) error {
		if group != nil {
			if err := group.wait(); err != nil {
				return err
			}
		}
		if err := addToWard(ward, proc); err != nil {
			return err
		}
		if err := scope.created(ctx); err != nil {
			return err
		}
		if c.Setup == nil {
			return nil
		}
		if there, err := receive(ctx); err != nil || !there {
			return err
		}
		if err := proc.AwaitSettingUp(ctx); err != nil { // others may look for the container from here on
			return &StartError{Step: "start", Path: c.String(), Err: err}
		}
		if err := c.Setup(ctx, proc.Pid()); err != nil {
			return &StartError{Step: "set up", Path: c.String(), Err: err}
		}
		return nil
	}}
	if group != nil {
		h.begin, h.failed = group.start, group.wait
	}
	err = c.explainOOM(c.spawn(ctx, l, h))
	if c.scoping = scope; c.Keep != nil {
		scope.done()
	}
	return ward, err
}

// care makes the control group and gives it into the guardian's care.
func (c *Container) care(l *namespace.Launch, ward *namespace.Ward, u *undo) error {
	if !c.NoCgroup {
		err := c.makeGroup(l, ward, u)
		if c.ungrouped = err != nil && c.withoutGroup(err); err != nil && !c.ungrouped {
			return c.undelegated(err)
		}
	}
	return register(ward, u)
}

func register(ward *namespace.Ward, u *undo) error {
	if err := ward.Register(); err != nil {
		return &StartError{Step: "register with the guardian", Err: err}
	}
	u.add(func() { _ = ward.Release() })
	return nil
}

func addToWard(ward *namespace.Ward, proc *namespace.Process) error {
	if err := ward.Add(proc); err != nil {
		return &StartError{Step: "register with the guardian", Err: err}
	}
	return nil
}

// makeGroup makes the control group, and puts it into the launch and into the guardian's care.
func (c *Container) makeGroup(l *namespace.Launch, ward *namespace.Ward, u *undo) error {
	g, err := c.createGroup()
	if err != nil {
		return err
	}
	c.groupMu.Lock()
	c.group = g
	c.groupMu.Unlock()
	u.add(func() { _ = c.removeGroup() })
	if err := enter(g, l); err != nil {
		return err
	}
	c.bindGroups(l)
	ward.Folders = g.Paths()
	return c.noteGroups(ward.Folders, u)
}

// enter makes the process of l start in the group.
func enter(g *cgroups.Group, l *namespace.Launch) (err error) {
	if l.CgroupDir, l.CgroupTasks, err = g.Entry(); err != nil {
		return &StartError{Step: "open control group", Err: err}
	}
	return nil
}

// removeGroup kills what is left in the control group and removes it.
func (c *Container) removeGroup() error {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	if c.group == nil {
		return nil
	}
	err := c.group.Remove()
	if errors.Is(err, cgroups.ErrBusy) {
		err = c.killGroup()
		if err == nil {
			err = c.group.Remove()
		}
	}
	c.group.Close()
	c.group = nil
	return err
}

// killGroup kills all processes in the control group and waits for their end. The caller holds groupMu.
func (c *Container) killGroup() error {
	ctx, cancel := context.WithTimeout(context.Background(), killed)
	defer cancel()
	return c.group.Kill(ctx)
}

// begin marks the process as started, which it can be once.
func (p *Process) begin() error {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if p.run.started {
		return errors.New("container: already started")
	}
	p.run.started = true
	return nil
}

// unbegin takes begin back.
func (p *Process) unbegin() {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	p.run.started = false
}

// spawn starts the process with its standard files.
func (p *Process) spawn(ctx context.Context, l *namespace.Launch, h *holding) error {
	if l.Keep == nil {
		if err := p.useFiles(l); err != nil {
			return err
		}
	}
	if h != nil {
		closeGate, err := h.hold(l)
		if err != nil {
			return err
		}
		defer closeGate()
	}
	proc, err := l.Start(ctx)
	if err != nil {
		if h != nil && h.failed != nil {
			if e := h.failed(); e != nil { // the cause
				return e
			}
		}
		return startError(err)
	}
	p.began(proc, time.Now())
	p.attach(proc.TTY())
	return nil
}

// A holding is what a process waits for at a gate.
type holding struct {
	begin   func(gate *os.File)            // called at the start; nil does nothing
	failed  func() error                   // what begin has begun has failed so; nil if there is none
	created func(*namespace.Process) error // called when the process exists and has not executed anything yet; it waits for it
}

// hold lets the process of l wait until created has returned.
func (h *holding) hold(l *namespace.Launch) (closeGate func(), err error) {
	// The gate's other end is ours alone: the process does not get past it if we die before we have taken care of it.
	gate, open, err := os.Pipe()
	if err != nil {
		return nil, &StartError{Step: "pipe", Path: "gate", Err: err}
	}
	l.Gate = gate
	l.Created = func(proc *namespace.Process) error {
		if err := h.created(proc); err != nil {
			return err
		}
		return openGate(open)
	}
	if h.begin != nil {
		h.begin(open)
	}
	return func() {
		gate.Close()
		open.Close()
	}, nil
}

// openGate lets the process pass its gate once.
func openGate(gate *os.File) error {
	if _, err := gate.Write([]byte{1}); err != nil {
		return &StartError{Step: "write", Path: "gate", Err: err}
	}
	return nil
}

// useFiles opens the standard files for the launch.
func (p *Process) useFiles(l *namespace.Launch) error {
	files, err := p.prepare()
	if err != nil {
		return err
	}
	if err := p.own(l); err != nil {
		return err
	}
	l.Stdin, l.Stdout, l.Stderr = files[0], files[1], files[2]
	return nil
}

// began notes the process that runs.
func (p *Process) began(proc *namespace.Process, at time.Time) {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	p.run.proc, p.run.exited, p.run.startedAt = proc, make(chan struct{}), at
	p.run.finishing = make(chan struct{}, 1)
}

// startError makes every error of a start a StartError.
func startError(err error) error {
	var e *StartError
	if errors.As(err, &e) {
		return err
	}
	return &StartError{Step: "start", Err: err}
}
