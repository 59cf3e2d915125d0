package layer

import (
	"context"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// smallStreams is how many streams may be read at a time while no window is larger than smallWindow: more than are.
const smallStreams = 64

// Decoders are the zstd decoders of a store. Their memory is a window each, of which small ones are used again while streams are
// being read, so that they do not pile up until the next garbage collection. A stream with a window larger
// than smallWindow is read while no other is.
type decoders struct {
	turn  chan struct{} // of one: who has it may take all places
	place chan struct{} // of smallStreams: one for each stream, all for one with a large window

	mu     sync.Mutex
	active int
	free   []*zstd.Decoder // with small windows
}

func newDecoders() *decoders {
	return &decoders{turn: make(chan struct{}, 1), place: make(chan struct{}, smallStreams)}
}

// A decoding is a stream that is being read by one of the decoders.
type decoding struct {
	all *decoders
	ctx context.Context
	z   *zstd.Decoder

	whole  func() error // see ExtractOptions; may be nil
	big    bool         // it has the turn
	places int          // that it has
}

// open begins to decode a stream. ctx bounds the waiting for a turn, here and later.
func (d *decoders) open(ctx context.Context, r *frameReader, in input) (*decoding, error) {
	c := &decoding{all: d, ctx: ctx, whole: in.whole}
	d.mu.Lock()
	d.active++ // those that wait, too: what is free is for them
	d.mu.Unlock()
	take := c.one
	if r.firstWindow() > smallWindow {
		take = c.every
	}
	if err := take(); err != nil {
		c.close()
		return nil, err
	}
	r.gate = c.grow
	d.mu.Lock()
	if n := len(d.free); n > 0 && !c.big {
		c.z, d.free = d.free[n-1], d.free[:n-1]
	}
	d.mu.Unlock()
	var err error
	if c.z != nil {
		err = c.z.ResetWithOptions(r, zstd.WithDecoderMaxWindow(in.maxWindow), zstd.IgnoreChecksum(in.verified))
	} else {
		// One block at a time, and no more memory than for a window and two blocks.
		c.z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(in.maxWindow), zstd.IgnoreChecksum(in.verified))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// one waits for a place.
func (c *decoding) one() error {
	select {
	case c.all.place <- struct{}{}:
		c.places++
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// every waits for the turn, then for all places. Who has none of them waits for the turn, so that whoever has it gets them.
func (c *decoding) every() error {
	c.leave()
	if c.whole != nil {
		if err := c.whole(); err != nil {
			return err
		}
	}
	select {
	case c.all.turn <- struct{}{}:
		c.big = true
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	for range smallStreams {
		if err := c.one(); err != nil {
			return err
		}
	}
	c.all.mu.Lock()
	dropped := len(c.all.free) > 0
	c.all.free = nil
	c.all.mu.Unlock()
	if dropped {
		runtime.GC() // garbage counts as long as it is not collected
	}
	return nil
}

// leave gives its places back.
func (c *decoding) leave() {
	for ; c.places > 0; c.places-- {
		<-c.all.place
	}
}

// grow is called before a large window is allocated.
func (c *decoding) grow() error {
	if c.big {
		return nil
	}
	return c.every()
}

// close ends it, and keeps the decoder for the next one if its window is small.
func (c *decoding) close() {
	d := c.all
	d.mu.Lock()
	d.active--
	switch {
	case d.active == 0:
		d.free = nil
	case c.z == nil || c.big || c.z.Reset(nil) != nil:
	default:
		d.free = append(d.free, c.z)
	}
	c.z = nil
	d.mu.Unlock()
	if c.big {
		runtime.GC() // before the next stream allocates its window
		<-d.turn
	}
	c.leave()
}

// Read implements io.Reader.
func (c *decoding) Read(p []byte) (int, error) { return c.z.Read(p) }

var _ io.Reader = (*decoding)(nil)
