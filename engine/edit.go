package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
)

// edit changes a container's document, of one that runs, too: whoever runs it in the foreground reads it again when it ends, and a keeper
// writes no documents.
func (e *Engine) edit(ctx context.Context, ref string, change func(*Container) error) (err error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	l, err := e.lock(ctx) // against others that do this
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if c, err = e.load(ctx, c.ID); err != nil {
		return err
	}
	if c.State.Status == Running {
		if err := change(c); err != nil {
			return err
		}
		err = e.write(c)
		_, seen := e.load(ctx, c.ID) // its end, if that came meanwhile
		return errors.Join(err, seen)
	}
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	own, err := durable.Acquire(wait, e.path(c.ID, "lock"), true)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return conflict("container %s is being started", c.Name)
	}
	if err != nil {
		return fmt.Errorf("change container %s: %w", c.ShortID(), err)
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	if c, err = e.reread(ctx, c.ID); err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	return e.write(c)
}

// Rename gives the container that ref names another name, which must be free. Other containers know one that runs by its
// old name until it is started again.
func (e *Engine) Rename(ctx context.Context, ref, name string) error {
	var old, id string
	err := e.edit(ctx, ref, func(c *Container) error {
		if name == "" || name == c.Name {
			return invalid("Renaming a container with the same name as its current name")
		}
		claimed, err := e.claimName(name, c.ID)
		if err != nil {
			return err
		}
		old, id, name = c.Name, c.ID, claimed
		c.Name = claimed
		return nil
	})
	switch {
	case old == "": // nothing was claimed
		return err
	case err != nil:
		if c, e2 := readRecord(e.path(id)); e2 == nil && c.Name == name { // it was written, and something failed after that
			name = old
		}
		return errors.Join(err, e.releaseName(name, id))
	}
	if c, err := e.Inspect(ctx, id); err == nil {
		e.note("rename", c, "oldName", "/"+old)
	}
	return e.releaseName(old, id)
}

// Restart stops the container that ref names, if it runs, as [Engine.Stop] does, and starts it with StartOptions.Detach. One
// that is removed when it ends, and runs, is a [Conflict].
func (e *Engine) Restart(ctx context.Context, ref string, timeout time.Duration) error {
	return e.RestartBySignal(ctx, ref, 0, timeout)
}

// RestartBySignal is [Engine.Restart] with another signal than the container's own, which 0 stands for.
func (e *Engine) RestartBySignal(ctx context.Context, ref string, sig syscall.Signal, timeout time.Duration) error {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	if c.State.Status == Running {
		if c.Config.AutoRemove {
			return conflict("container %s is removed when it ends (--rm)", c.Name)
		}
		if err := e.needSupervisor(ctx, c); err != nil {
			return err
		}
		if err := e.StopBySignal(ctx, c.ID, sig, timeout); err != nil {
			return err
		}
	}
	r, err := e.Start(ctx, c.ID, &StartOptions{Detach: true})
	if err != nil {
		return err
	}
	e.note("restart", r.record)
	return r.Leave()
}
