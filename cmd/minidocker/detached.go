package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

// eachCommand is a command that does one thing with every container named.
func (a *app) eachCommand(use, short string, f func(*engine.Engine, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " CONTAINER [CONTAINER...]", Short: short, Args: cobra.MinimumNArgs(1), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error { return f(e, name) })
			})
		},
	}
}

func (a *app) stopCommand() *cobra.Command {
	return a.stoppingCommand("stop [OPTIONS]", "Stop one or more running containers", (*engine.Engine).StopBySignal)
}

// stoppingCommand is a command that stops containers, and waits for that as long as it is told, or as each of them was created with.
func (a *app) stoppingCommand(use, short string, stop func(*engine.Engine, context.Context, string, syscall.Signal, time.Duration) error) *cobra.Command {
	seconds, signal := 0, ""
	var c *cobra.Command
	c = a.namingCommand(use, short, func(e *engine.Engine, name string) error {
		sig := 0
		if signal != "" {
			var err error
			if sig, err = engine.ParseSignal(signal); err != nil {
				return err
			}
		}
		timeout := time.Duration(seconds) * time.Second
		if !c.Flags().Changed("time") {
			of, err := e.Inspect(a.ctx, name)
			if err != nil {
				return err
			}
			timeout = of.StopDelay()
		}
		return stop(e, a.ctx, name, syscall.Signal(sig), timeout)
	})
	c.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.Replace(name, "timeout", "time", 1)) // Docker has both
	})
	c.Flags().IntVarP(&seconds, "time", "t", 0, "Seconds to wait before killing the container, -1 for ever (default 10, or its own)")
	c.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	return c
}

func (a *app) killCommand() *cobra.Command {
	signal := ""
	c := a.eachCommand("kill [OPTIONS]", "Kill one or more running containers", func(e *engine.Engine, name string) error {
		n, err := engine.ParseSignal(signal)
		if err != nil {
			return err
		}
		if err := e.Kill(a.ctx, name, syscall.Signal(n)); err != nil {
			return err
		}
		say(a.stdout, "%s", name)
		return nil
	})
	c.Flags().StringVarP(&signal, "signal", "s", "KILL", "Signal to send to the container")
	return c
}

func (a *app) waitCommand() *cobra.Command {
	return a.eachCommand("wait", "Block until containers stop, then print their exit codes", func(e *engine.Engine, name string) error {
		code, err := e.WaitFor(a.ctx, name)
		if err == nil {
			say(a.stdout, "%d", code)
		}
		return err
	})
}

func (a *app) pauseCommand() *cobra.Command {
	return a.namingCommand("pause", "Pause all processes within containers that run in background", func(e *engine.Engine, name string) error {
		return e.Pause(a.ctx, name)
	})
}

func (a *app) unpauseCommand() *cobra.Command {
	return a.namingCommand("unpause", "Unpause all processes within containers", func(e *engine.Engine, name string) error {
		return e.Unpause(a.ctx, name)
	})
}

// namingCommand is eachCommand with the container's name as its output.
func (a *app) namingCommand(use, short string, f func(*engine.Engine, string) error) *cobra.Command {
	return a.eachCommand(use, short, func(e *engine.Engine, name string) error {
		err := f(e, name)
		if err == nil {
			say(a.stdout, "%s", name)
		}
		return err
	})
}

type execFlags struct {
	interactive, tty bool
	privileged       bool
	env, envFiles    []string
	dir, user        string
}

func (a *app) execCommand() *cobra.Command {
	x := &execFlags{}
	c := &cobra.Command{
		Use: "exec [OPTIONS] CONTAINER COMMAND [ARG...]", Short: "Execute a command in a container that runs in background",
		Args: cobra.MinimumNArgs(2), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.runStatus(a.withEngine(func(e *engine.Engine) error { return a.exec(e, x, args) }))
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&x.interactive, "interactive", "i", false, "Keep STDIN open")
	f.BoolVarP(&x.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.StringArrayVarP(&x.env, "env", "e", nil, "Set environment variables")
	f.StringArrayVar(&x.envFiles, "env-file", nil, "Read in a file of environment variables")
	f.BoolVar(&x.privileged, "privileged", false, "Give all capabilities to the command")
	f.StringVarP(&x.dir, "workdir", "w", "", "Working directory inside the container")
	f.StringVarP(&x.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	return c
}

func (a *app) exec(e *engine.Engine, x *execFlags, args []string) error {
	if x.interactive && x.tty && !isTerminal(a.stdin) {
		return &exitStatus{1, errors.New("the input device is not a TTY")}
	}
	r, err := e.Adopt(a.ctx, args[0])
	if err != nil {
		return &exitStatus{1, err}
	}
	defer func() { _ = r.Leave() }()
	p := r.Process().Command(args[1:]...)
	o, started, err := a.attach(x.interactive, x.tty)
	if err != nil {
		return err
	}
	p.Stdin, p.Stdout, p.Stderr, p.TTY, p.TTYSize = o.Stdin, o.Stdout, o.Stderr, x.tty, o.TTYSize
	if x.privileged {
		p.CapAdd, p.CapDrop = []string{"ALL"}, nil
	}
	variables, err := environment(x.envFiles, x.env)
	if err != nil {
		return err
	}
	for _, v := range variables {
		if strings.Contains(v, "=") {
			p.Env = append(p.Env, v)
		}
	}
	if x.dir != "" {
		p.Dir = x.dir
	}
	if x.user != "" {
		p.User, p.Groups = x.user, nil
	}
	done := func() {}
	if x.tty && x.interactive {
		if done, err = a.raw(); err != nil {
			return err
		}
	}
	defer done()
	err = p.Start(a.ctx)
	started()
	if err != nil {
		return err
	}
	a.signals.to(func(s os.Signal) {
		if isResize(s) && x.tty {
			_ = p.Resize(a.size())
		} else if !isResize(s) {
			_ = p.Signal(s)
		}
	})
	defer a.signals.to(nil)
	return p.Wait(context.WithoutCancel(a.ctx))
}

func (a *app) attachCommand() *cobra.Command {
	noStdin := false
	c := &cobra.Command{
		Use: "attach [OPTIONS] CONTAINER", Short: "Attach to a container that runs in background, from here on",
		Args: cobra.ExactArgs(1), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.runStatus(a.withEngine(func(e *engine.Engine) error { return a.attachTo(e, args[0], !noStdin) }))
		},
	}
	c.Flags().BoolVar(&noStdin, "no-stdin", false, "Do not attach STDIN")
	return c
}

func (a *app) attachTo(e *engine.Engine, name string, stdin bool) error {
	r, err := e.Adopt(a.ctx, name)
	if err != nil {
		return &exitStatus{1, err}
	}
	log, err := e.Log(a.ctx, name)
	if err != nil {
		return err
	}
	defer log.Close()
	for err == nil { // what was printed before belongs to logs
		_, err = log.Next()
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	cfg := &r.Container().Config
	return a.attachRun(r, log, stdin && (cfg.OpenStdin || cfg.TTY))
}

// attachRun prints what comes of a log until the container has ended, and copies the standard input to it.
func (a *app) attachRun(r *engine.Run, log *namespace.LogReader, stdin bool) error {
	if stdin {
		done, err := a.typing(r)
		if err != nil {
			return err
		}
		defer done()
	}
	a.forward(r)
	defer a.signals.to(nil)
	if err := a.printFrames(func() (*namespace.Frame, error) { return log.Follow(context.WithoutCancel(a.ctx)) }); err != nil {
		return err
	}
	return r.Wait(context.WithoutCancel(a.ctx))
}

// typing copies the standard input to the container's.
func (a *app) typing(r *engine.Run) (done func(), err error) {
	in, err := r.Process().Input(a.ctx)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	done = func() {}
	tty := r.Container().Config.TTY
	if tty {
		if done, err = a.raw(); err != nil {
			return nil, errors.Join(err, in.Close())
		}
		_ = namespace.Resize(in, a.size())
	}
	go func() { // it may outlive the container by the line that is being typed
		_, _ = io.Copy(in, a.stdin)
		_ = in.Close()
		if !tty && r.Container().Config.StdinOnce {
			_ = r.Process().CloseInput(a.ctx)
		}
	}()
	return done, nil
}
