package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
)

// createCommand is run without the running: start does that.
func (a *app) createCommand() *cobra.Command {
	r := &runFlags{}
	c := &cobra.Command{
		Use:                   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:                 "Create a new container, which start runs",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			r.config.Image, r.config.Command = args[0], args[1:]
			if _, err := r.streams(); err != nil { // start attaches what it is told to
				return err
			}
			r.config.OpenStdin, r.config.StdinOnce = r.interactive, r.interactive
			if err := r.fill(); err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				if err := a.provide(e, r); err != nil {
					return err
				}
				made, err := a.create(e, r)
				if err != nil {
					return err
				}
				say(a.stdout, "%s", made.ID)
				return nil
			})
		},
	}
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	r.add(all)
	c.Flags().SetInterspersed(false)
	all.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains([]string{"detach", "explain", "sig-proxy", "detach-keys"}, f.Name) {
			c.Flags().AddFlag(f)
		}
	})
	return c
}

func (a *app) startCommand() *cobra.Command {
	var attach, interactive bool
	s := streams{out: true, err: true, proxy: true}
	keys := ""
	c := &cobra.Command{
		Use:                   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short:                 "Start containers that were created or have exited",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			attach = attach || interactive
			var err error
			if s.keys, err = parseKeys(keys); err != nil {
				return err
			}
			s.in = interactive
			if attach && len(args) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			return a.withEngine(func(e *engine.Engine) error {
				if attach {
					return a.startStatus(a.startAttached(e, args[0], &s))
				}
				return a.each(args, func(name string) error { return a.startByName(e, name) })
			})
		},
	}
	c.Flags().BoolVarP(&attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "Attach container's STDIN, and STDOUT/STDERR")
	c.Flags().StringVar(&keys, "detach-keys", "", `Run the container so that these keys leave it running in background ("ctrl-p,ctrl-q")`)
	refuseFlag(c.Flags(), "checkpoint", "", "", "checkpoints are not implemented")
	refuseFlag(c.Flags(), "checkpoint-dir", "", "", "checkpoints are not implemented")
	return c
}

// startByName starts a container and leaves it. One that runs already is left as it is.
func (a *app) startByName(e *engine.Engine, name string) error {
	c, err := e.Inspect(a.ctx, name)
	if err != nil {
		return err
	}
	if c.State.Status != engine.Running {
		run, err := e.Start(a.ctx, c.ID, &engine.StartOptions{Detach: true, TTYSize: a.size()})
		if err != nil {
			return a.clearAway(e, c, err)
		}
		if err := run.Leave(); err != nil {
			return err
		}
	}
	say(a.stdout, "%s", name)
	return nil
}

func (a *app) startAttached(e *engine.Engine, name string, s *streams) error {
	c, err := e.Inspect(a.ctx, name)
	if err != nil {
		return err
	}
	if s.in && c.Config.TTY && !isTerminal(a.stdin) {
		return errors.New("the input device is not a TTY")
	}
	return a.foreground(e, c, s)
}

// startStatus turns the end of a container into the command's exit status. With any other error that is 1, as with Docker.
func (a *app) startStatus(err error) error {
	var exit *container.ExitError
	switch {
	case errors.As(err, &exit):
		return &exitStatus{code: engine.ExitCode(err)}
	case err != nil && a.signals.status() != 0 && a.ctx.Err() != nil:
		return a.stopped()
	}
	return err
}
