package engine

import (
	"context"
	"errors"
)

// Pause holds the processes of the container that ref names, which was started with StartOptions.Detach, until [Engine.Unpause].
// One that is paused already is a [Conflict], as is one that does not run. ctx bounds how long it waits for them to be held.
func (e *Engine) Pause(ctx context.Context, ref string) error {
	return e.withAdopted(ctx, ref, func(r *Run) error {
		if r.c.Paused() {
			return conflict("container %s is already paused", r.record.Name)
		}
		done, err := e.steady(ctx, r.record)
		if err != nil {
			return err
		}
		defer done()
		err = r.c.Pause(ctx)
		if err == nil {
			e.note("pause", r.record)
		}
		return err
	})
}

// Unpause lets the processes of a paused container go on. One that is not paused is a [Conflict].
func (e *Engine) Unpause(ctx context.Context, ref string) error {
	return e.withAdopted(ctx, ref, func(r *Run) error {
		if !r.c.Paused() {
			return conflict("container %s is not paused", r.record.Name)
		}
		err := r.c.Resume()
		if err == nil {
			e.note("unpause", r.record)
		}
		return err
	})
}

// withAdopted calls f with a running container that was started with StartOptions.Detach.
func (e *Engine) withAdopted(ctx context.Context, ref string, f func(*Run) error) (err error) {
	r, err := e.Adopt(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Leave()) }()
	return f(r)
}
