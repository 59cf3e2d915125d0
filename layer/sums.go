package layer

import (
	"context"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/caisson-engine/caisson/internal/sha256pair"
)

// Sums computes the digests of the streams that a store reads side by side, two at a time, which takes half as long as one after
// the other (internal/sha256pair). So a chunk waits for one of another stream, but no longer than until as many are there as its own
// may hold: no stream waits for another to go on.
type sums struct {
	mu  sync.Mutex
	all []*sum
}

// A sum is the end of a stream at which its digest is computed. Its fields are guarded by sums.mu; its hash belongs to whoever
// has set busy.
type sum struct {
	of   *sums
	h    hash.Hash
	held []*chunk // to be computed, the oldest first
	busy bool
	err  error // what ended the stream

	work, room sync.Cond
}

// open begins the sum of a stream, whose compute must be called.
func (s *sums) open(h hash.Hash) *sum {
	d := &sum{of: s, h: h}
	d.work.L, d.room.L = &s.mu, &s.mu
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
	return d
}

// put implements sink.
func (d *sum) put(ctx context.Context, c *chunk) error {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	if len(d.held) == chunkQueue {
		stop := context.AfterFunc(ctx, func() {
			d.of.mu.Lock()
			defer d.of.mu.Unlock()
			d.room.Signal()
		})
		defer stop()
	}
	for len(d.held) == chunkQueue {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.room.Wait()
	}
	d.held = append(d.held, c)
	d.wake()
	return nil
}

// end implements sink.
func (d *sum) end(err error) {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	d.err = err
	d.wake()
}

// wake wakes compute if there is enough to do.
func (d *sum) wake() {
	if d.ready() {
		d.work.Signal()
	}
}

func (d *sum) ready() bool {
	enough := chunkQueue
	if len(d.of.all) == 1 {
		enough = 1
	}
	return !d.busy && (d.err != nil || len(d.held) >= enough)
}

// compute writes what comes to the hash, until the stream ends.
func (d *sum) compute() error {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	for {
		for !d.ready() {
			d.work.Wait()
		}
		if d.err != nil && (d.err != io.EOF || len(d.held) == 0) {
			break
		}
		other := d.partner()
		d.step(other)
		for other != nil && !d.busy && len(d.held) > 0 { // while at it
			if other = d.partner(); other != nil {
				d.step(other)
			}
		}
	}
	for _, c := range d.held {
		c.release()
	}
	d.of.all = slices.DeleteFunc(d.of.all, func(x *sum) bool { return x == d })
	if d.err == io.EOF {
		return nil
	}
	return d.err
}

// partner returns another sum that has something to be computed, if there is one.
func (d *sum) partner() *sum {
	for _, x := range d.of.all {
		if x != d && !x.busy && len(x.held) > 0 {
			return x
		}
	}
	return nil
}

// step computes the oldest chunk that is held, with that of another unless it is nil. The lock is given up meanwhile.
func (d *sum) step(other *sum) {
	c := d.take()
	if other == nil {
		d.of.mu.Unlock()
		d.h.Write(c.data)
		d.of.mu.Lock()
		d.give(c)
		return
	}
	with := other.take()
	d.of.mu.Unlock()
	sha256pair.Write(d.h, other.h, c.data, with.data)
	d.of.mu.Lock()
	d.give(c)
	other.give(with)
	other.wake()
}

func (d *sum) take() *chunk {
	d.busy = true
	return d.held[0]
}

func (d *sum) give(c *chunk) {
	c.release()
	d.held = slices.Delete(d.held, 0, 1)
	d.busy = false
	d.room.Signal()
}

var _ sink = (*sum)(nil)
