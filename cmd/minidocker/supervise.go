package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

const (
	// supervisorIdle is how long a supervisor stays when it has nothing to do: a container that is stopped and started again, say, finds it.
	supervisorIdle = 300 * time.Millisecond
	// maxSupervisorLog bounds what one finds of the log of those before it, in bytes.
	maxSupervisorLog = 1 << 20
)

// superviseCommand is what startSupervisor runs.
func (a *app) superviseCommand() *cobra.Command {
	notify := -1
	c := &cobra.Command{
		Use: "supervise", Hidden: true, Args: cobra.NoArgs,
		Short: "Serve the networks of containers that run in background, and start them again, until the last has ended",
		RunE: func(*cobra.Command, []string) error {
			if notify < 0 {
				return a.supervise(func() {})
			}
			starter := inherited(notify)
			err := a.supervise(func() { _ = starter.Close() })
			if err != nil {
				say(starter, "%v", err)
			}
			return err
		},
	}
	c.Flags().IntVar(&notify, "notify", -1, "The descriptor that is closed when it is ready, and gets the error if it cannot be")
	return c
}

func (a *app) supervise(ready func()) error {
	_ = os.WriteFile("/proc/self/comm", []byte("minidocker"), 0) // it was executed by a name that says nothing
	if err := os.MkdirAll(a.root, 0o700); err != nil {
		return err
	}
	// Who started it is not there to read what it says.
	log, err := os.OpenFile(filepath.Join(a.root, "supervisor.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil && info.Size() > maxSupervisorLog {
		if err := log.Truncate(0); err != nil {
			return err
		}
	}
	o := a.options()
	o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	e, err := engine.Open(a.ctx, a.root, o)
	if err != nil {
		return err
	}
	err = e.Supervise(a.ctx, &engine.SuperviseOptions{Idle: supervisorIdle, Ready: ready, LeaveUnit: true})
	if errors.Is(err, fs.ErrExist) {
		err = nil // one is as good as another
	}
	return errors.Join(err, e.Close())
}

// startSupervisor runs this program as the supervisor of the folder, in a session of its own, and returns when it is ready, or has ended
// since another one is there.
func (a *app) startSupervisor(ctx context.Context) error {
	root, err := filepath.Abs(a.root)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	c := exec.Command("/proc/self/exe", "--root", root, "supervise", "--notify", "3")
	if a.netns != "" {
		c.Args = append(c.Args, "--network-namespace", a.netns)
	}
	c.Args[0], c.Dir, c.SysProcAttr, c.ExtraFiles = os.Args[0], "/", ownSession(), []*os.File{w}
	keepInherited()
	err = c.Start()
	_ = w.Close()
	if err != nil {
		return err
	}
	go func() { _ = c.Wait() }() // it is reaped if this program is there for longer
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(r, 1<<16))
	switch text := strings.TrimSpace(string(said)); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case text != "":
		return fmt.Errorf("it says: %s", text)
	}
	return nil
}
