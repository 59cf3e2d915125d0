package layer

import (
	"context"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Decoders are the zstd decoders of a store. Their memory is a window each, which is used again while streams are being
// read, so that it does not pile up until the next garbage collection; after the last one it is let go of.
type decoders struct {
	turn chan struct{} // of one: who has it may have a window larger than smallWindow

	mu     sync.Mutex
	active int
	small  []*zstd.Decoder
	large  *zstd.Decoder
}

func newDecoders() *decoders { return &decoders{turn: make(chan struct{}, 1)} }

// A decoding is a stream that is being read by one of the decoders.
type decoding struct {
	all *decoders
	ctx context.Context
	z   *zstd.Decoder
	big bool // it has the turn
}

// open begins to decode a stream. ctx bounds the waiting for a turn, here and later.
func (d *decoders) open(ctx context.Context, r *frameReader, maxWindow uint64) (*decoding, error) {
	c := &decoding{all: d, ctx: ctx}
	d.mu.Lock()
	d.active++ // those that wait, too: what is free is for them
	d.mu.Unlock()
	if r.firstWindow() > smallWindow {
		if err := c.take(); err != nil {
			c.close()
			return nil, err
		}
	}
	r.gate = c.grow
	d.mu.Lock()
	if c.big {
		c.z, d.large = d.large, nil
	} else if n := len(d.small); n > 0 {
		c.z, d.small = d.small[n-1], d.small[:n-1]
	}
	d.mu.Unlock()
	var err error
	if c.z != nil {
		err = c.z.ResetWithOptions(r, zstd.WithDecoderMaxWindow(maxWindow))
	} else {
		// One block at a time, and no more memory than for a window and two blocks.
		c.z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *decoding) take() error {
	select {
	case c.all.turn <- struct{}{}:
		c.big = true
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// grow is called before a large window is allocated.
func (c *decoding) grow() error {
	if c.big {
		return nil
	}
	if err := c.take(); err != nil {
		return err
	}
	// The stream's first windows were small, so its decoder allocates a large one where another has one that is free.
	c.all.mu.Lock()
	dropped := c.all.large != nil
	c.all.large = nil
	c.all.mu.Unlock()
	if dropped {
		runtime.GC()
	}
	return nil
}

// close ends it, and keeps the decoder for the next one.
func (c *decoding) close() {
	d := c.all
	dropped := false
	d.mu.Lock()
	d.active--
	switch {
	case d.active == 0:
		dropped = c.big || d.large != nil
		d.small, d.large, c.z = nil, nil, nil
	case c.z == nil || c.z.Reset(nil) != nil:
	case c.big:
		d.large = c.z
	default:
		d.small = append(d.small, c.z)
	}
	d.mu.Unlock()
	if dropped {
		runtime.GC() // before the next stream allocates a large window: garbage counts as long as it is not collected
	}
	if c.big {
		<-d.turn
	}
}

// Read implements io.Reader.
func (c *decoding) Read(p []byte) (int, error) { return c.z.Read(p) }

var _ io.Reader = (*decoding)(nil)
