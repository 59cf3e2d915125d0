package container

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/caisson-engine/caisson/cgroups"
)

// Events tells what happens in the running container's control group: OOM and OOM kills, limits reached, and that it
// is frozen or thawed. It begins with what has happened since the start, and ends with the container, after its last
// event. When ctx ends, or watching fails, the last pair is the error. It may be called several times: each caller is
// told everything. While it waits it has no thread.
//
// After the container's end the error satisfies errors.Is(err, os.ErrProcessDone). There are none with NoCgroup.
func (c *Container) Events(ctx context.Context) iter.Seq2[cgroups.Event, error] {
	return func(yield func(cgroups.Event, error) bool) {
		var w *cgroups.Watch
		err := c.withGroup("watch", func(g *cgroups.Group) (err error) {
			w, err = g.Watch()
			return err
		})
		if err != nil {
			yield(cgroups.Event{}, err)
			return
		}
		defer w.Close()
		for {
			e, err := w.Next(ctx)
			if errors.Is(err, io.EOF) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}
