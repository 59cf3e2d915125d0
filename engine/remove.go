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

// removeTimeout is how long Remove waits for the engine that runs the container to note its end, or to start it.
const removeTimeout = 10 * time.Second

// Remove removes the container that ref names, with its writable layer. A running one is a [Conflict], unless Force is set.
// When ctx ends while files are being deleted, the container is removed nevertheless, and the rest is deleted while the
// engine is open, or by the next Open.
func (e *Engine) Remove(ctx context.Context, ref string, o *RemoveOptions) error {
	if o == nil {
		o = &RemoveOptions{}
	}
	id, err := e.resolve(ref)
	if err != nil {
		return err
	}
	l, err := e.lockEnded(ctx, id, o.Force)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever ran it has removed it
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", shortID(id), err)
	}
	defer l.Close()
	// Only now is it certain what it is: others may have run it since it was looked up.
	c, err := e.reread(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c = e.dead(id, err)
	}
	return e.remove(ctx, c, o.Volumes)
}

// lockEnded locks a container that does not run. One that does is killed, if kill is set: who runs it notes its end, and
// with AutoRemove removes it, before giving back the lock.
func (e *Engine) lockEnded(ctx context.Context, id string, kill bool) (*durable.Lock, error) {
	deadline := time.Now().Add(removeTimeout)
	for {
		c, err := e.load(ctx, id)
		if errors.Is(err, fs.ErrNotExist) || err != nil && ctx.Err() != nil {
			return nil, err
		}
		if err == nil && c.State.Restarting && !kill {
			return nil, conflict("cannot remove container %q: container is restarting: stop the container before removing or force remove", "/"+c.Name)
		}
		if err == nil && kill {
			if err := e.halt(ctx, c); err != nil {
				return nil, err
			}
		}
		if err == nil && c.State.Status == Running {
			if !kill {
				return nil, conflict("cannot remove container %q: container is running: stop the container before removing "+
					"or force remove", "/"+c.Name)
			}
			if err := e.killInit(c); err != nil {
				return nil, err
			}
			wait, cancel := context.WithDeadline(ctx, deadline)
			own, err := e.awaitOwn(wait, id, c.State.Pid)
			cancel()
			if own && err == nil {
				continue
			}
		}
		// Somebody may be starting it, which its document says only when that is done: look again now and then.
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		l, err := durable.Acquire(wait, e.path(id, "lock"), true)
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || time.Now().After(deadline) {
			return l, err
		}
	}
}

// remove removes a container that does not run and whose lock the caller holds: first out of sight, then from disk.
func (e *Engine) remove(ctx context.Context, c *Container, volumes bool) error {
	if err := e.discard(ctx, c); err != nil {
		// A container that cannot be removed would be worse.
		e.log.Warn("control group of a killed start", "id", c.ID, "error", err)
	}
	left, err := e.unlink(ctx, c, volumes)
	if err == nil {
		err = e.delete(ctx, left)
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
	}
	return nil
}

// unlink takes a container that does not run and whose lock the caller holds out of sight. What is left of it is to be
// deleted.
func (e *Engine) unlink(ctx context.Context, c *Container, volumes bool) (_ *leavings, err error) {
	l, err := e.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if !volumes && len(c.AnonymousVolumes) > 0 {
		// The sweep of a folder in tmp removes the volumes that its document names.
		c.AnonymousVolumes = nil
		if err := e.write(c); err != nil {
			return nil, err
		}
	}
	dir, held, err := durable.TryAcquireDir(e.path(c.ID))
	if err == nil && held {
		err = errors.New("its folder is locked")
	}
	if err != nil {
		return nil, err
	}
	gone := filepath.Join(e.dir, "tmp", c.ID)
	if err := os.Rename(e.path(c.ID), gone); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	left := &leavings{folders: []leaving{{gone, dir}}}
	defer func() {
		if err != nil { // the next Open has a go at it
			err = errors.Join(err, dir.Close())
		}
	}()
	if err := e.releaseName(c.Name, c.ID); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Join(e.dir, "containers")); err != nil {
		return nil, err
	}
	left.volumes = e.unlinkVolumes(c)
	e.note("destroy", c)
	return left, nil
}
