package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/caisson-engine/caisson/engine"
)

// create creates the container of the flags, and writes its ID into the file of --cidfile, which must not be there.
func (a *app) create(e *engine.Engine, r *runFlags) (c *engine.Container, err error) {
	if r.cidfile == "" {
		return e.Create(a.ctx, &r.config)
	}
	f, err := os.OpenFile(r.cidfile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", r.cidfile)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to create the container ID file: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if c == nil {
			err = errors.Join(err, os.Remove(r.cidfile))
		}
	}()
	if c, err = e.Create(a.ctx, &r.config); err != nil {
		return nil, err
	}
	if _, err = f.WriteString(c.ID); err != nil { // who asked for the file cannot find the container without it
		err = errors.Join(err, e.Remove(context.WithoutCancel(a.ctx), c.ID, &engine.RemoveOptions{Volumes: true}))
		c = nil
	}
	return c, err
}
