package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/ocistate"
)

var deleteVerb = verb{
	name: "delete", args: "[options] CONTAINER-ID",
	about: "remove what is left of a container",
	run:   (*command).delete,
}

func (c *command) delete(args []string) error {
	f := c.flags("delete")
	force := f.Bool("force", false, "kill the container first if it runs; it is no error if there is none")
	f.BoolVar(force, "f", false, "kill the container first if it runs; it is no error if there is none")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	err := c.remove(f.Arg(0), *force)
	if (*force || earlyRemoved) && errors.Is(err, ocistate.ErrNotExist) {
		return nil
	}
	return err
}

// remove deletes the container of that id, or what a create that was killed has left of one: then the error is ErrNotExist
// all the same.
func (c *command) remove(id string, force bool) error {
	folder, err := c.lockFolder(id)
	if err != nil {
		return err
	}
	s, err := folder.Load()
	if err != nil {
		if !force && !errors.Is(err, ocistate.ErrNotExist) { // it cannot be read
			return errors.Join(err, folder.Close())
		}
		half := &container{State: &ocistate.State{}, c: c, folder: folder}
		if e := half.discard(); e != nil {
			return e
		}
		return ocistate.ErrNotExist
	}
	if earlyRemoved { // it is another one, which was made since
		return folder.Close()
	}
	k := &container{State: s, c: c, folder: folder}
	if err := k.stop(force); err != nil {
		return errors.Join(err, k.close())
	}
	if err := k.discard(); err != nil {
		return fmt.Errorf("unable to destroy container: %w", err)
	}
	return c.poststop(k)
}

// stop ends a container that was not started, or any one if it must. It waits for one that is ending anyway: that of a short command has
// executed its last instruction when its caller asks, but mounts and namespaces take a millisecond to go.
func (k *container) stop(force bool) error {
	status, err := k.status()
	if err == nil && status == specs.StateRunning {
		if k.Ending() {
			ctx, cancel := context.WithTimeout(context.Background(), killWait)
			defer cancel()
			_ = k.Wait(ctx)
		}
		status, err = k.status()
	}
	if err != nil {
		return err
	}
	if status == specs.StateStopped {
		return nil
	}
	if status != specs.StateCreated && !force {
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", k.ID, status)
	}
	if err := k.signal(9); err != nil && !errors.Is(err, ocistate.ErrNotRunning) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	return k.Wait(ctx)
}
