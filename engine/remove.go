package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
)

// RemoveOptions change how a container is removed.
type RemoveOptions struct {
	// Force kills a running container first.
	Force bool
	// Volumes removes the anonymous volumes that were made for it, too.
	Volumes bool
}

// Remove removes the container that ref names, with its writable layer. A running one is a [Conflict], unless Force is set.
func (e *Engine) Remove(ctx context.Context, ref string, o *RemoveOptions) error {
	if o == nil {
		o = &RemoveOptions{}
	}
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	if c.State.Status == Running {
		if !o.Force {
			return conflict("cannot remove container %q: container is running: stop the container before removing or force "+
				"remove", "/"+c.Name)
		}
		if err := e.killInit(c); err != nil {
			return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
		}
	}
	// Whoever runs it notes its end, and with AutoRemove removes it, before giving back the lock.
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l, err := durable.Acquire(wait, e.path(c.ID, "lock"), true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	defer l.Close()
	if _, err := os.Stat(e.path(c.ID)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return e.remove(ctx, c, o.Volumes)
}

// remove removes a container that does not run and whose lock the caller holds: first out of sight, then from disk.
func (e *Engine) remove(ctx context.Context, c *Container, volumes bool) error {
	l, err := e.lock(ctx)
	if err != nil {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	defer l.Close()
	gone := filepath.Join(e.dir, "tmp", c.ID)
	if !volumes && len(c.AnonymousVolumes) > 0 {
		// The sweep of a folder in tmp removes the volumes that its document names.
		c.AnonymousVolumes = nil
		if err := e.write(c); err != nil {
			return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
		}
	}
	if err := os.Rename(e.path(c.ID), gone); err != nil {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	if err := os.Remove(e.claimPath(c.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	if err := durable.SyncDir(filepath.Join(e.dir, "containers")); err != nil {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	e.removeVolumes(c)
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	return nil
}
