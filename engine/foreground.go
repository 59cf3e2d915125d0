package engine

import (
	"context"
	"errors"

	"github.com/caisson-engine/caisson/container"
)

// Wait waits until the container has ended, writes that down, releases what it held, and with AutoRemove removes it.
// ctx bounds the waiting only: when it ends first, the container still runs and Wait can be called again. The error is nil,
// a *container.ExitError, or says what went wrong with the waiting or the writing. Wait may be called again, and by
// several goroutines: all get the same answer. Until somebody calls it, the container runs as far as others are told;
// the Engine's own calls that wait for the container's end, such as [Engine.Stop], do that themselves.
func (r *Run) Wait(ctx context.Context) error {
	err := r.c.Wait(ctx)
	var exit *container.ExitError
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) && !errors.As(err, &exit) {
		return err
	}
	r.ending.Lock()
	defer r.ending.Unlock()
	if !r.ended {
		r.result, r.ended = r.end(context.WithoutCancel(ctx), err), true
		r.e.foreground.CompareAndDelete(r.record.ID, r)
	}
	return r.result
}

// awaitOwn waits for the end of a container that this value runs in the foreground, as its first process pid unless that is 0, and does
// what there is to do then: nobody else would, if who is to call Wait of the Run waits here. It is false if it runs no such container.
func (e *Engine) awaitOwn(ctx context.Context, id string, pid int) (own bool, err error) {
	v, ok := e.foreground.Load(id)
	if !ok {
		return false, nil
	}
	r := v.(*Run)
	if pid != 0 && pid != r.c.Pid() {
		return false, nil
	}
	_ = r.Wait(ctx) // how it ended is for who has the Run
	r.ending.Lock()
	defer r.ending.Unlock()
	if !r.ended {
		return true, ctx.Err()
	}
	return true, nil
}
