package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
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
	return &cobra.Command{
		Use: "supervise", Hidden: true, Args: cobra.NoArgs,
		Short: "Serve the networks of containers that run in background, and start them again, until the last has ended",
		RunE: func(*cobra.Command, []string) error {
			starter := a.starter()
			if starter == nil {
				return a.supervise(func() {})
			}
			err := a.supervise(func() { _ = starter.Close() })
			if err != nil {
				say(starter, "%v", err)
			}
			return err
		},
	}
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
	args := []string{"--root", root, "supervise"}
	if a.netns != "" {
		args = append(args, "--network-namespace", a.netns)
	}
	said, err := inBackground(ctx, func(c *exec.Cmd) { c.Dir = "/" }, args...)
	if err == nil && said != "" {
		err = fmt.Errorf("it says: %s", said)
	}
	return err
}
