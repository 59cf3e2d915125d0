package namespace

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// startPaused starts a process that pauses.
func (l *Launch) startPaused(ctx context.Context) (*Process, error) {
	wait, resume, err := os.Pipe()
	if err != nil {
		return nil, &StartError{Step: "pipe", Path: "pause", Err: err}
	}
	own := *l
	own.pause = &pause{wait, resume}
	defer own.pause.close()
	return own.Start(ctx)
}

// pause waits for the host program: until its BeforeRoot and, if the process waits at its filter, its Created have returned.
func (c *compiler) pause() {
	switch {
	case c.l.BeforeRoot != nil: // which is called when the process is here
		c.sayPaused()
		c.awaitResume("BeforeRoot")
	case c.l.waits() && c.l.Created != nil:
		c.awaitResume("Created")
	default:
		return
	}
	if c.l.BeforeCommand == nil {
		c.close(c.pauseFile())
	}
}

// pauseInRoot waits until BeforeCommand has returned.
func (c *compiler) pauseInRoot() {
	if c.l.BeforeCommand == nil {
		return
	}
	c.sayPaused()
	c.awaitResume("BeforeCommand")
	c.close(c.pauseFile())
}

func (c *compiler) sayPaused() {
	c.call("write", unix.SYS_WRITE, c.report, c.str("p"), num(1)).about("report")
}

// pauseFile is the pipe at which the process pauses.
func (c *compiler) pauseFile() arg {
	if c.pauseAt == nil {
		f := c.file("pause", func() (int, bool, error) { return useBlocking(c.l.pause.wait)() })
		c.pauseAt = &f
	}
	return *c.pauseAt
}

// awaitResume waits for a byte from the host program, and fails if that has ended.
func (c *compiler) awaitResume(what string) {
	wait := c.pauseFile()
	n, retry, resumed, ended := c.variable("n", 8), c.label(), c.label(), c.label()
	c.place(retry)
	c.call("read", unix.SYS_READ, wait, c.variable("byte", 8).addr(), num(1)).to(n).about(what).
		orElse(retry, errnoSet(int(unix.EINTR)))
	c.op(opTest, n, num(1), all).goTo(resumed).orElse(ended, anyError)
	c.place(ended)
	c.op(opFail, num(int(unix.ECANCELED))).about(what).name = "read"
	c.place(resumed)
}

// pause calls BeforeRoot and BeforeCommand, if they are there, when the process pauses, and lets it go on.
func (s *starter) pause(ctx context.Context, p *Process) error {
	if before := s.l.BeforeRoot; before != nil || s.l.waits() && s.l.Created != nil {
		if err := s.paused(ctx, p, before); err != nil {
			return err
		}
	}
	if before := s.l.BeforeCommand; before != nil {
		return s.paused(ctx, p, before)
	}
	return nil
}

// paused waits until the process pauses, calls before, if there is one, and lets it go on.
func (s *starter) paused(ctx context.Context, p *Process, before func(*Process) error) error {
	if before != nil {
		if err := s.awaitPause(ctx, p); err != nil {
			return err
		}
		if err := before(p); err != nil {
			return err
		}
	}
	return s.l.pause.goOn()
}

// goOn lets the process go on.
func (p *pause) goOn() error {
	if _, err := p.resume.Write([]byte{1}); err != nil {
		return &StartError{Step: "write", Path: "pause", Err: err}
	}
	return nil
}

// awaitPause waits until the process pauses.
func (s *starter) awaitPause(ctx context.Context, p *Process) error {
	defer endWith(ctx, s.report)()
	var b [reportSize]byte
	n, err := s.report.Read(b[:])
	switch {
	case ctx.Err() != nil && err != nil:
		return &StartError{Step: "start", Err: ctx.Err()}
	case errors.Is(err, io.EOF):
		return s.died(p)
	case err != nil:
		return &StartError{Step: "read", Path: "report", Err: err}
	case n > 1:
		return s.failure(b[:n])
	}
	return nil
}
