package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A blob whose bytes come slower than they are taken is fetched by several connections: each asks for a piece, the
// pieces are handed out in their order, and so the digest is still computed in one pass. A client does so with one blob at a time,
// so that the memory for pieces does not grow with the blobs that it fetches side by side.
const (
	DefaultRanges = 4 // of a Client's zero Ranges

	rangePiece  = 512 << 10 // bytes asked for at a time
	rangeAhead  = 2         // pieces held beyond those on their way
	rangeProbe  = 4 << 20   // bytes after which the speed is known
	rangeLeast  = 16 << 20  // bytes that must be left
	rangeAmple  = 100 << 20 // bytes a second that several connections would not better
	rangeWaited = 0.8       // part of the time that the reader has waited for the network
)

var errNoRanges = errors.New("the registry does not serve ranges")

// A pace tells who waits for whom.
type pace struct {
	begun  time.Time
	from   int64 // the blob's byte at begun
	waited time.Duration
}

// isSlow says whether the network is what the reader waits for.
func (p *pace) isSlow(n int64) bool {
	passed := time.Since(p.begun)
	return float64(p.waited) > rangeWaited*float64(passed) && float64(n-p.from) < rangeAmple*passed.Seconds()
}

// speedUp goes over to several connections where that is worth it and no other blob has them: once, and not after they failed.
func (b *blobReader) speedUp() {
	n := or(b.client.Ranges, DefaultRanges)
	if b.ranged || n < 2 || b.n-b.pace.from < b.client.rangeProbe() || b.desc.Size-b.n < b.client.rangeLeast() ||
		!b.pace.isSlow(b.n) || !b.client.ranging.CompareAndSwap(false, true) {
		return
	}
	b.ranged = true
	_ = b.body.Close()
	b.body = newRangeReader(b, n)
}

func (c *Client) rangeProbe() int64 { return or(c.rangeUnit*4, rangeProbe) }
func (c *Client) rangeLeast() int64 { return or(c.rangeUnit*16, rangeLeast) }
func (c *Client) rangePiece() int64 { return or(c.rangeUnit, rangePiece) }

// A piece is a part of a blob on its way; its bytes are there when done is closed.
type piece struct {
	from int64
	buf  []byte
	done chan struct{}
	err  error
}

// A rangeReader gives the rest of a blob, from several connections.
type rangeReader struct {
	client  *Client
	request request
	at      endpoint
	cancel  context.CancelFunc
	queue   chan *piece // in order; closed behind the last
	free    chan []byte
	all     sync.WaitGroup

	current *piece
	off     int
	err     error
}

// newRangeReader begins to fetch what b lacks, by n connections at a time.
func newRangeReader(b *blobReader, n int) *rangeReader {
	ctx, cancel := context.WithCancel(b.ctx)
	r := &rangeReader{
		client: b.client, request: b.request, at: b.endpoints[0], cancel: cancel,
		queue: make(chan *piece, n+rangeAhead), free: make(chan []byte, n+rangeAhead),
	}
	for range n + rangeAhead {
		r.free <- nil
	}
	from, size := b.n, b.desc.Size
	r.all.Go(func() {
		defer close(r.queue)
		connections := make(chan struct{}, n)
		for from < size {
			p := &piece{from: from, done: make(chan struct{})}
			select {
			case p.buf = <-r.free:
			case <-ctx.Done():
				return
			}
			length := min(r.client.rangePiece(), size-from)
			if int64(cap(p.buf)) < length {
				p.buf = make([]byte, length)
			}
			p.buf = p.buf[:length]
			from += length
			r.queue <- p // never full: there are as many places as buffers
			select {
			case connections <- struct{}{}:
			case <-ctx.Done():
				p.err = ctx.Err()
				close(p.done)
				return
			}
			r.all.Go(func() {
				defer func() { <-connections }()
				defer close(p.done)
				p.err = r.fetch(ctx, p, size)
			})
		}
	})
	return r
}

// fetch gets a piece, and tries again where a connection breaks.
func (r *rangeReader) fetch(ctx context.Context, p *piece, size int64) error {
	got := 0
	for try := 0; ; try++ {
		n, err := r.fetchOnce(ctx, p, got, size)
		got += n
		if err == nil || ctx.Err() != nil || try >= r.client.retries() || !isPassing(err) {
			return err
		}
		if err := sleep(ctx, r.client.backoff(try)); err != nil {
			return err
		}
	}
}

// fetchOnce gets a piece from its byte got on, and returns how many bytes came.
func (r *rangeReader) fetchOnce(ctx context.Context, p *piece, got int, size int64) (int, error) {
	q := r.request
	from, to := p.from+int64(got), p.from+int64(len(p.buf))-1
	q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to)}}
	resp, err := r.client.do(ctx, &r.at, &q)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return 0, &refusedError{errNoRanges}
	}
	want := fmt.Sprintf("bytes %d-%d/", from, to)
	if h := resp.Header.Get("Content-Range"); h != want+fmt.Sprint(size) && h != want+"*" {
		return 0, refuse("asked for the bytes %d-%d of %d, got %q", from, to, size, printable(h))
	}
	n, err := io.ReadFull(resp.Body, p.buf[got:])
	return n, err
}

// Read implements io.Reader.
func (r *rangeReader) Read(b []byte) (int, error) {
	for r.err == nil {
		if r.current == nil {
			p, ok := <-r.queue
			if !ok {
				r.err = io.EOF
				break
			}
			if <-p.done; p.err != nil {
				r.err = p.err
				break
			}
			r.current, r.off = p, 0
		}
		if r.off < len(r.current.buf) {
			n := copy(b, r.current.buf[r.off:])
			r.off += n
			return n, nil
		}
		r.free <- r.current.buf
		r.current = nil
	}
	return 0, r.err
}

// Close implements io.Closer: nothing goes on after it, and another blob may be fetched so. It is called once.
func (r *rangeReader) Close() error {
	r.cancel()
	r.all.Wait()
	r.client.ranging.Store(false)
	return nil
}
