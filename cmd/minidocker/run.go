package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

func (a *app) runCommand() *cobra.Command {
	r := &runFlags{}
	c := &cobra.Command{
		Use:                   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:                 "Create and run a new container from an image",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			r.config.Image, r.config.Command = args[0], args[1:]
			return a.runStatus("run", a.run(r))
		},
	}
	r.add(c.Flags())
	return c
}

// runStatus turns an error of run into an exit status and a message.
func (a *app) runStatus(command string, err error) error {
	if err == nil {
		return nil
	}
	var exit *container.ExitError
	if errors.As(err, &exit) {
		return &exitStatus{code: engine.ExitCode(err)}
	}
	if a.signals.status() != 0 && a.ctx.Err() != nil {
		return a.stopped()
	}
	code := engine.ExitCode(err)
	var status *exitStatus
	if errors.As(err, &status) {
		code = status.code
	}
	return &exitStatus{code, fmt.Errorf("minidocker: Error: %w\n\nRun 'minidocker %s --help' for more information", err, command)}
}

// run is the command run.
func (a *app) run(r *runFlags) error {
	if err := r.fill(); err != nil {
		return err
	}
	s, err := r.streams()
	if err != nil {
		return err
	}
	if r.interactive && r.config.TTY && !r.explain && !r.detach && !isTerminal(a.stdin) {
		return &exitStatus{1, errors.New("the input device is not a TTY")}
	}
	return a.withEngine(func(e *engine.Engine) error {
		if err := a.provide(e, r); err != nil {
			return err
		}
		if r.explain {
			listing, err := e.Explain(a.ctx, &r.config)
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.stdout, listing)
			return err
		}
		r.config.OpenStdin, r.config.StdinOnce = r.interactive, r.interactive && !r.detach
		c, err := a.create(e, r)
		if err != nil {
			return err
		}
		if r.detach {
			return a.startDetached(e, c, nil)
		}
		return a.foreground(e, c, s)
	})
}

// foreground starts a container with the command's standard files and waits for its end.
func (a *app) foreground(e *engine.Engine, c *engine.Container, s *streams) error {
	if !s.out && !s.err { // as Docker has it
		return a.startDetached(e, c, s)
	}
	if p := c.Config.RestartPolicy.Name; s.background() || p != "" && p != engine.RestartNo { // it runs in background, and goes on without this command
		run, err := e.Start(a.ctx, c.ID, &engine.StartOptions{Detach: true, TTYSize: a.size()})
		if err != nil {
			return a.clearAway(e, c, err)
		}
		log, err := e.LogSinceStart(a.ctx, c.ID)
		if err != nil {
			return errors.Join(err, run.Leave())
		}
		defer log.Close()
		return a.attachRun(run, log, s)
	}
	run, done, err := a.start(e, c, s)
	if err != nil {
		return err
	}
	defer done()
	a.forward(run)
	defer a.signals.to(nil)
	return run.Wait(context.WithoutCancel(a.ctx))
}

// provide pulls the image if that is asked for.
func (a *app) provide(e *engine.Engine, r *runFlags) error {
	if r.pull == "always" {
		return a.pull(e, r.config.Image, &pullFlags{platform: r.config.Platform, quiet: r.quiet, out: a.stderr})
	}
	_, err := e.ImageFor(a.ctx, r.config.Image, r.config.Platform)
	if !errors.Is(err, fs.ErrNotExist) || r.pull == "never" {
		return err
	}
	if !r.quiet {
		say(a.stderr, "Unable to find image '%s' locally", registry.Familiar(r.config.Image))
	}
	return a.pull(e, r.config.Image, &pullFlags{platform: r.config.Platform, quiet: r.quiet, out: a.stderr})
}

// start starts the container with the command's standard files. done puts the terminal back.
func (a *app) start(e *engine.Engine, c *engine.Container, s *streams) (_ *engine.Run, done func(), err error) {
	defer func() { err = a.clearAway(e, c, err) }()
	if err := a.ctx.Err(); err != nil {
		return nil, nil, err
	}
	tty := c.Config.TTY
	o, started, err := a.attach(s, tty, c.Config.OpenStdin)
	if err != nil {
		return nil, nil, err
	}
	o.Shared = true
	done = func() {}
	if tty && s.in {
		if done, err = a.raw(); err != nil {
			return nil, nil, err
		}
	}
	// From here on signals are the container's. They wait until it is there, but not for ever.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(a.ctx))
	defer cancel(nil)
	stop := context.AfterFunc(a.ctx, func() {
		time.AfterFunc(startDelay, func() { cancel(context.Cause(a.ctx)) })
	})
	defer stop()
	run, err := e.Start(ctx, c.ID, o)
	started()
	if err != nil {
		done()
		return nil, nil, err
	}
	return run, done, nil
}

// clearAway removes a container that could not be started, if it was to go with its end.
func (a *app) clearAway(e *engine.Engine, c *engine.Container, err error) error {
	if err == nil || !c.Config.AutoRemove {
		return err
	}
	gone := e.Remove(context.WithoutCancel(a.ctx), c.ID, &engine.RemoveOptions{Volumes: true})
	if errors.Is(gone, fs.ErrNotExist) { // a start that fails removes it itself
		return err
	}
	return errors.Join(err, gone)
}

// startDetached starts the container, gives it the standard input if that is attached, and leaves it.
func (a *app) startDetached(e *engine.Engine, c *engine.Container, s *streams) error {
	run, err := e.Start(a.ctx, c.ID, &engine.StartOptions{Detach: true, TTYSize: a.size()})
	if err != nil {
		return a.clearAway(e, c, err)
	}
	say(a.stdout, "%s", c.ID)
	if s != nil && s.in {
		err = a.feed(run)
	}
	return errors.Join(err, run.Leave())
}

// startDelay is how long a start may go on after a signal to stop.
const startDelay = 5 * time.Second

// forward passes signals on to the container. The third of those that ask to stop kills: a command that is process 1 and
// has no handler does not get them.
func (a *app) forward(run *engine.Run) {
	stops := 0
	a.signals.to(func(s os.Signal) {
		switch {
		case isResize(s):
			if run.Container().Config.TTY {
				_ = run.Process().Resize(a.size())
			}
			return
		case s == syscall.SIGINT || s == syscall.SIGTERM:
			if stops++; stops == 3 {
				s = syscall.SIGKILL
			}
		}
		if s, ok := s.(syscall.Signal); ok {
			_ = run.Signal(context.WithoutCancel(a.ctx), s)
		}
	})
}
