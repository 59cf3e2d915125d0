package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
)

// inBackground runs this program in a session of its own, with arguments behind --notify and a descriptor, and returns what it says to that
// before it closes it.
func inBackground(ctx context.Context, edit func(*exec.Cmd), args ...string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	c := exec.Command("/proc/self/exe", append([]string{"--notify", "3"}, args...)...)
	c.Args[0], c.SysProcAttr, c.ExtraFiles = os.Args[0], ownSession(), []*os.File{w}
	if edit != nil {
		edit(c)
	}
	keepInherited()
	err = c.Start()
	_ = w.Close()
	if err != nil {
		return "", err
	}
	go func() { _ = c.Wait() }() // it is reaped if this program is there for longer
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return strings.TrimSpace(string(said)), err
}

// starter is who runs this program by inBackground, and waits until that is closed; nil if nobody does.
func (a *app) starter() *os.File {
	if a.notify < 0 {
		return nil
	}
	return inherited(a.notify)
}

// execBehind has a command executed by this program in background. It waits for the command, as whoever has started a process of a PID namespace
// has to: until that is done, the namespace's first process cannot end.
func (a *app) execBehind() error {
	said, err := inBackground(a.ctx, nil, os.Args[1:]...)
	if err != nil || said == "" {
		return err
	}
	code, text, _ := strings.Cut(said, " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return errors.New(said)
	}
	return &exitStatus{n, errors.New(text)}
}

// executes is the program that execBehind runs.
func (a *app) executes(p *container.Process, starter *os.File) error {
	if err := p.Start(a.ctx); err != nil {
		fmt.Fprint(starter, engine.ExecExitCode(err), " ", err)
		return err
	}
	_ = starter.Close()
	_ = os.Chdir("/") // the folder may be removed
	return p.Wait(context.WithoutCancel(a.ctx))
}
