package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/caisson-engine/caisson/internal/sigpipe"
	"github.com/caisson-engine/caisson/namespace"
)

var runVerb = verb{
	name: "run", args: "[options] CONTAINER-ID",
	about: "create a container and start it",
	run:   (*command).run,
}

func (c *command) run(args []string) error {
	o := &createOptions{start: true}
	f := c.flags("run")
	o.flags(f)
	f.BoolVar(&o.detach, "detach", false, "do not wait for the end")
	f.BoolVar(&o.detach, "d", false, "do not wait for the end")
	keep := f.Bool("keep", false, "do not delete the container when it has ended")
	f.Bool("no-subreaper", false, "ignored: the command is the process's parent itself")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	status, err := c.runContainer(f.Arg(0), o, *keep)
	if err != nil {
		return fmt.Errorf("runc run failed: %w", err)
	}
	if status != 0 {
		return &exitStatus{code: status}
	}
	return nil
}

// runContainer returns the exit status of the container, or 0 if it is detached.
func (c *command) runContainer(id string, o *createOptions, keep bool) (int, error) {
	ctx := context.Background()
	var forward *forwarding
	if !o.detach {
		var err error
		if forward, err = catch(); err != nil { // from here on they are the container's, that comes
			return 0, err
		}
		if !c.ends {
			defer forward.stop()
		}
	}
	k, proc, err := c.make(id, o)
	if err != nil {
		return 0, err
	}
	defer proc.Close()
	if !k.started {
		if err := k.execute(ctx); err != nil {
			_ = proc.Signal(syscall.SIGKILL)
			_, _ = proc.Wait(ctx)
			k.finish()
			return 0, err
		}
	}
	if o.detach {
		return 0, k.close()
	}
	if err := k.folder.Release(); err != nil { // others may change it while it runs
		return 0, errors.Join(err, k.close())
	}
	status, err := wait(ctx, proc, forward)
	if err != nil || keep {
		return status, errors.Join(err, k.close())
	}
	if err := k.folder.Relock(lockWait); err != nil { // somebody has deleted it
		k.closeGroup()
		return status, nil
	}
	k.finish()
	return status, nil
}

// finish deletes a container that has ended.
func (k *container) finish() {
	if err := k.discard(); err != nil {
		k.c.warn("%v", err)
	}
	if err := k.c.poststop(k); err != nil {
		k.c.warn("%v", err)
	}
}

// wait waits for a process of ours, passes signals and the terminal on to it, and returns its exit status.
func wait(ctx context.Context, proc *namespace.Process, forward *forwarding) (int, error) {
	var k *console
	if tty := proc.TTY(); tty != nil {
		k = attach(tty)
	}
	forward.to(proc)
	state, err := proc.Wait(ctx)
	if k != nil {
		k.done()
	}
	if err != nil {
		return 0, err
	}
	if state.Signal != 0 {
		return 128 + state.Signal, nil
	}
	return state.Code, nil
}

// A forwarding passes the command's signals on to a process.
type forwarding struct{ signals *sigpipe.Pipe }

// catch takes all signals from now on.
func catch() (*forwarding, error) {
	p, err := sigpipe.Catch()
	if err != nil {
		return nil, fmt.Errorf("catch signals: %w", err)
	}
	return &forwarding{p}, nil
}

// to passes signals on to the process: those that came before too.
func (f *forwarding) to(proc *namespace.Process) {
	go func() {
		for {
			s, ok := f.signals.Next()
			if !ok {
				return
			}
			_ = proc.Signal(s)
		}
	}()
}

func (f *forwarding) stop() { f.signals.Close() }
