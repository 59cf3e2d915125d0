package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/detachkeys"
	"github.com/caisson-engine/caisson/namespace"
)

// streams are what of a container the command is attached to.
type streams struct {
	in, out, err bool
	proxy        bool   // signals are the container's
	keys         []byte // that leave it running; none if there are none
}

// background says that the container is to go on without this command.
func (s *streams) background() bool { return !s.proxy || len(s.keys) > 0 }

// streams are those that run's flags ask for.
func (r *runFlags) streams() (*streams, error) {
	s := &streams{in: r.interactive, out: true, err: true, proxy: r.proxy}
	if len(r.attach) > 0 {
		if r.detach {
			return nil, errors.New("conflicting options: cannot specify both --attach and --detach")
		}
		s.in, s.out, s.err = false, false, false
	}
	for _, name := range r.attach {
		switch strings.ToLower(name) {
		case "stdin":
			s.in = r.interactive
		case "stdout":
			s.out = true
		case "stderr":
			s.err = true
		default:
			return nil, fmt.Errorf("invalid argument %q for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR", name)
		}
	}
	var err error
	s.keys, err = parseKeys(r.keys)
	return s, err
}

func parseKeys(text string) ([]byte, error) {
	keys, err := detachkeys.Parse(text)
	if err != nil {
		return nil, &exitStatus{125, err}
	}
	return keys, nil
}

// errLeft says that the container is left running.
var errLeft = errors.New("the container is left")

// attachRun prints what comes of a log until the container has ended, and copies the standard input to it. With Docker's keys, or those of s,
// typed at a terminal the container is left; without the proxying of signals by one of those, too.
func (a *app) attachRun(r *engine.Run, log *namespace.LogReader, s *streams) error {
	if len(s.keys) == 0 {
		s.keys, _ = detachkeys.Parse(detachkeys.Default)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(a.ctx))
	defer cancel(nil)
	if s.in {
		done, err := a.typing(r, s.keys, cancel)
		if err != nil {
			return err
		}
		defer done()
	}
	if s.proxy {
		a.forward(r)
		defer a.signals.to(nil)
	} else {
		defer context.AfterFunc(a.ctx, func() { cancel(context.Cause(a.ctx)) })()
	}
	err := a.printFrames(func() (*namespace.Frame, error) {
		for {
			f, err := log.Follow(ctx)
			if err != nil || f.Stream == namespace.Stdout && s.out || f.Stream == namespace.Stderr && s.err {
				return f, err
			}
		}
	})
	switch {
	case errors.Is(context.Cause(ctx), errLeft):
		return r.Leave()
	case ctx.Err() != nil:
		return errors.Join(a.stopped(), r.Leave())
	case err != nil:
		return err
	}
	return r.Wait(context.WithoutCancel(a.ctx))
}

// typing copies the standard input to the container's. The keys, typed at a terminal, end that and call left.
func (a *app) typing(r *engine.Run, keys []byte, left context.CancelCauseFunc) (done func(), err error) {
	in, err := r.Process().Input(a.ctx)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	done = func() {}
	tty := r.Container().Config.TTY
	typed := io.Reader(a.stdin)
	if tty {
		typed = &detachkeys.Reader{R: a.stdin, Keys: keys}
		if done, err = a.raw(); err != nil {
			return nil, errors.Join(err, in.Close())
		}
		_ = namespace.Resize(in, a.size())
	}
	go func() { // it may outlive the container by the line that is being typed
		_, err := io.Copy(in, typed)
		_ = in.Close()
		if errors.Is(err, detachkeys.ErrDetached) {
			left(errLeft)
		}
		if !tty && r.Container().Config.StdinOnce {
			_ = r.Process().CloseInput(a.ctx)
		}
	}()
	return done, nil
}

// feed copies the standard input to the container's, and ends that.
func (a *app) feed(r *engine.Run) error {
	in, err := r.Process().Input(a.ctx)
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	_, err = io.Copy(in, a.stdin)
	return cmp.Or(errors.Join(err, in.Close()), r.Process().CloseInput(a.ctx))
}
