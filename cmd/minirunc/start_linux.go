package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/namespace"
)

var startVerb = verb{
	name: "start", args: "CONTAINER-ID",
	about: "execute the command of a container that was created",
	run:   (*command).start,
}

func (c *command) start(args []string) error {
	f := c.flags("start")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	if earlyUnpark {
		return c.startedEarly(f.Arg(0))
	}
	k, err := c.lockToStart(f.Arg(0))
	if err != nil {
		return err
	}
	return errors.Join(k.execute(context.Background()), k.close())
}

// bundle is the configuration that the container was created with.
func (k *container) bundle() (*bundle.Bundle, error) {
	if k.config != nil {
		return k.config, nil
	}
	b, err := os.ReadFile(k.dir() + "/" + ocistate.ConfigFile)
	if err != nil {
		return nil, err
	}
	return bundle.Parse(b, k.Bundle)
}

// reportFIFO is where the process says whether it could execute its command.
const reportFIFO = "report.fifo"

// removePipes removes what the process waited at.
func (k *container) removePipes() {
	for _, name := range []string{ocistate.FIFO, reportFIFO} {
		_ = os.Remove(k.dir() + "/" + name)
	}
}

// dir is the container's folder.
func (k *container) dir() string {
	if k.folder != nil {
		return k.folder.Path()
	}
	return k.Dir()
}

// execute lets the process that waits execute its command, with the hooks before and after. If one fails, or the command, the
// container is ended.
func (k *container) execute(ctx context.Context) (err error) {
	b := &bundle.Bundle{Spec: &specs.Spec{}}
	if !k.NoStartHooks {
		if b, err = k.bundle(); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			_ = k.Signal(syscall.SIGKILL)
		}
	}()
	if err := k.startHooks(ctx, b); err != nil {
		return err
	}
	if err := namespace.Unpark(ctx, k.dir()); err != nil {
		if errors.Is(err, namespace.ErrNotParked) {
			return errStopped
		}
		return k.notExecuted(err)
	}
	k.removePipes()
	state := k.ociState(specs.StateRunning)
	return runHooks(ctx, hooks(b, nil, nil, nil), "poststart", state)
}

// startHooks runs the hooks of startContainer, in the container's namespaces and control group.
func (k *container) startHooks(ctx context.Context, b *bundle.Bundle) error {
	if !hook.Any(b.Spec.Hooks, "startContainer") {
		return nil
	}
	process, err := namespace.FindProcess(k.InitProcessPid)
	if err != nil {
		return errStopped
	}
	defer process.Close()
	if err := k.Alive(); err != nil { // the number may be another process's
		return errStopped
	}
	var group *cgroups.Group
	if len(k.Group) > 0 {
		manager, err := cgroups.Detect()
		if err != nil {
			return err
		}
		defer manager.Close()
		if group, err = manager.OpenPaths(k.Group); err != nil {
			return err
		}
		defer group.Close()
	}
	state := k.ociState(specs.StateCreated)
	return runHooks(ctx, hooks(b, process, group, state), "startContainer", state)
}

// notExecuted says in runc's words that a container's command could not be executed.
func (k *container) notExecuted(err error) error {
	var start *namespace.StartError
	if !errors.As(err, &start) || start.Step != "execve" {
		return err
	}
	if b, e := k.bundle(); e == nil {
		return &spoken{fmt.Sprintf("exec %s: %v", b.Spec.Process.Args[0], start.Err), err}
	}
	return err
}
