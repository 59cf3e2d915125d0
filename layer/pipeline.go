package layer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

const (
	chunkSize  = 128 << 10
	chunkQueue = 8 // chunks that wait in front of each stage
	inputQueue = 1 // chunks of the compressed stream, of which each is several when it is inflated
)

// A chunk is a part of a stream, shared by the stages that read it. The last one gives it back.
type chunk struct {
	data []byte
	refs atomic.Int32
	mem  [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		chunks.Put(c)
	}
}

// A stage is the reading end of a stream of chunks. One goroutine may use it.
type stage struct {
	queue chan *chunk
	err   error // set before queue is closed

	current *chunk
	rest    []byte
}

func newStage(queue int) *stage { return &stage{queue: make(chan *chunk, queue)} }

// next makes rest non-empty, or returns why it cannot be.
func (s *stage) next() error {
	for len(s.rest) == 0 {
		if s.current != nil {
			s.current.release()
			s.current = nil
		}
		c, ok := <-s.queue
		if !ok {
			return s.err
		}
		s.current, s.rest = c, c.data
	}
	return nil
}

// Read implements io.Reader.
func (s *stage) Read(p []byte) (int, error) {
	if err := s.next(); err != nil {
		return 0, err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// take returns the next bytes, at most n, valid until the next call of a method.
func (s *stage) take(n int64) ([]byte, error) {
	if err := s.next(); err != nil {
		return nil, err
	}
	p := s.rest[:min(n, int64(len(s.rest)))]
	s.rest = s.rest[len(p):]
	return p, nil
}

// discard reads what is left.
func (s *stage) discard() error {
	for {
		s.rest = nil
		if err := s.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A sink takes a stream of chunks, of each of which it releases one reference.
type sink interface {
	// put waits until there is room.
	put(ctx context.Context, c *chunk) error
	// end says that the stream ended, by io.EOF or an error.
	end(err error)
}

// put implements sink.
func (s *stage) put(ctx context.Context, c *chunk) error {
	select {
	case s.queue <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end implements sink.
func (s *stage) end(err error) {
	s.err = err
	close(s.queue)
}

// pump reads r to its end into the sinks. What ends it, io.EOF or an error, ends them. count, which may be nil, is
// asked before each chunk is passed on.
func pump(ctx context.Context, r io.Reader, count func(n int) error, out ...sink) {
	err := fill(ctx, r, count, out)
	for _, s := range out {
		s.end(err)
	}
}

func fill(ctx context.Context, r io.Reader, count func(n int) error, out []sink) (err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder on hostile bytes, or the caller's reader
			err = fmt.Errorf("read layer: panic: %v", p)
		}
	}()
	for {
		c := chunks.Get().(*chunk)
		n, err := readChunk(r, c.mem[:])
		c.data = c.mem[:n]
		c.refs.Store(int32(len(out)))
		if n == 0 {
			chunks.Put(c)
		} else {
			if count != nil {
				if err := count(n); err != nil {
					return err
				}
			}
			for _, s := range out {
				if err := s.put(ctx, c); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// readChunk fills p, or returns what ended the stream. io.ReadFull would turn an end into io.ErrUnexpectedEOF, which is
// what a decoder says of a stream that was cut off.
func readChunk(r io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		n += m
		if m > 0 {
			idle = 0
		} else if idle++; idle == 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}
