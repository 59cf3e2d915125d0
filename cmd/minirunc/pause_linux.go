package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/ocistate"
)

// freezeWait bounds how long processes may take to be frozen.
const freezeWait = 10 * time.Second

var pauseVerb = verb{
	name: "pause", args: "CONTAINER-ID",
	about: "suspend all processes of a container",
	run:   (*command).pause,
}

func (c *command) pause(args []string) error {
	f := c.flags("pause")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := c.lock(f.Arg(0))
	if err != nil {
		return err
	}
	return errors.Join(k.pause(), k.close())
}

func (k *container) pause() error {
	status, err := k.status()
	if err != nil {
		return err
	}
	if status != specs.StateCreated && status != specs.StateRunning {
		return ocistate.ErrNotRunning
	}
	return k.withGroup(func(g *cgroups.Group) error {
		ctx, cancel := context.WithTimeout(context.Background(), freezeWait)
		defer cancel()
		return g.Freeze(ctx)
	})
}

var resumeVerb = verb{
	name: "resume", args: "CONTAINER-ID",
	about: "resume what pause has suspended",
	run:   (*command).resume,
}

func (c *command) resume(args []string) error {
	f := c.flags("resume")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := c.lock(f.Arg(0))
	if err != nil {
		return err
	}
	return errors.Join(k.resume(), k.close())
}

func (k *container) resume() error {
	status, err := k.status()
	if err != nil {
		return err
	}
	if status != ocistate.Paused {
		return ocistate.ErrNotPaused
	}
	return k.thaw()
}

// thaw lets the processes run on, whoever has frozen them: runc, on a host with both kinds of control groups, uses v1's freezer.
func (k *container) thaw() error {
	return errors.Join(k.withGroup((*cgroups.Group).Thaw), k.thawV1())
}

func (k *container) thawV1() error {
	dir := k.CgroupPaths["freezer"]
	if dir == "" {
		return nil
	}
	file := filepath.Join(dir, "freezer.state")
	b, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(b)) != "THAWED" {
		err = os.WriteFile(file, []byte("THAWED"), 0)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) { // it is being removed
		return nil
	}
	return err
}
