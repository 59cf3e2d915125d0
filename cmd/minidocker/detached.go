package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/engine"
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
		if !c.Flags().Changed("timeout") {
			of, err := e.Inspect(a.ctx, name)
			if err != nil {
				return err
			}
			timeout = of.StopDelay()
		}
		return stop(e, a.ctx, name, syscall.Signal(sig), timeout)
	})
	c.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "time" { // its older name
			name = "timeout"
		}
		return pflag.NormalizedName(name)
	})
	c.Flags().IntVarP(&seconds, "timeout", "t", 0, "Seconds to wait before killing the container, -1 for ever (default 10, or its own)")
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
	return a.namingCommand("pause", "Pause all processes within containers", func(e *engine.Engine, name string) error {
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
	interactive, tty   bool
	privileged, detach bool
	env, envFiles      []string
	dir, user          string
}

func (a *app) execCommand() *cobra.Command {
	x := &execFlags{}
	c := &cobra.Command{
		Use: "exec [OPTIONS] CONTAINER COMMAND [ARG...]", Short: "Execute a command in a running container",
		Args: cobra.MinimumNArgs(2), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.runStatus("exec", a.withEngine(func(e *engine.Engine) error { return a.exec(e, x, args) }))
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&x.interactive, "interactive", "i", false, "Keep STDIN open")
	f.BoolVarP(&x.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVarP(&x.detach, "detach", "d", false, "Run command in the background")
	refuseFlag(f, "detach-keys", "", "", "the command's terminal is this program's and ends with it; exec -d runs one in background")
	f.StringArrayVarP(&x.env, "env", "e", nil, "Set environment variables")
	f.StringArrayVar(&x.envFiles, "env-file", nil, "Read in a file of environment variables")
	f.BoolVar(&x.privileged, "privileged", false, "Give all capabilities to the command")
	f.StringVarP(&x.dir, "workdir", "w", "", "Working directory inside the container")
	f.StringVarP(&x.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	return c
}

func (a *app) exec(e *engine.Engine, x *execFlags, args []string) error {
	if x.interactive && x.tty && !x.detach && !isTerminal(a.stdin) {
		return &exitStatus{1, errors.New("the input device is not a TTY")}
	}
	r, err := e.Adopt(a.ctx, args[0])
	if err != nil {
		return &exitStatus{1, err}
	}
	defer func() { _ = r.Leave() }()
	starter := a.starter()
	if x.detach && starter == nil {
		return a.execBehind()
	}
	p := r.Process().Command(args[1:]...)
	o, started := &engine.StartOptions{}, func() {}
	if !x.detach {
		if o, started, err = a.attach(&streams{in: x.interactive, out: true, err: true}, x.tty, false); err != nil {
			return err
		}
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
	if x.detach {
		return a.executes(p, starter)
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
		return &exitStatus{engine.ExecExitCode(err), err}
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
	noStdin, keys := false, ""
	s := &streams{out: true, err: true}
	c := &cobra.Command{
		Use: "attach [OPTIONS] CONTAINER", Short: "Attach to a running container, from here on",
		Args: cobra.ExactArgs(1), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			if s.keys, err = parseKeys(keys); err != nil {
				return err
			}
			s.in = !noStdin
			return a.runStatus("attach", a.withEngine(func(e *engine.Engine) error { return a.attachTo(e, args[0], s) }))
		},
	}
	c.Flags().BoolVar(&noStdin, "no-stdin", false, "Do not attach STDIN")
	c.Flags().BoolVar(&s.proxy, "sig-proxy", true, "Proxy all received signals to the process")
	c.Flags().StringVar(&keys, "detach-keys", "", `Override the key sequence for detaching a container ("ctrl-p,ctrl-q")`)
	return c
}

func (a *app) attachTo(e *engine.Engine, name string, s *streams) error {
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
	s.in = s.in && (cfg.OpenStdin || cfg.TTY)
	return a.attachRun(r, log, s)
}
