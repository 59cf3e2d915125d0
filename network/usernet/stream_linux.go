package usernet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A stream is a connection of the stack's with a container. Between it and a socket of the kernel, io.Copy moves bytes without a buffer between
// them: from the stack's own memory into the socket, and from the socket into the stack's.
type stream struct {
	*gonet.TCPConn
	ep          tcpip.Endpoint
	queue       *waiter.Queue
	read, write deadline
}

func newStream(q *waiter.Queue, ep tcpip.Endpoint) *stream {
	return &stream{TCPConn: gonet.NewTCPConn(q, ep), ep: ep, queue: q}
}

// SetDeadline implements [net.Conn], as do the two that follow.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.read.set(t)
	return s.TCPConn.SetReadDeadline(t)
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.write.set(t)
	return s.TCPConn.SetWriteDeadline(t)
}

// A deadline is a time from which on a stream moves no more. The zero value is none.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // closed when another one is set; nil while nobody waits
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// wait waits for ready. The error is [os.ErrDeadlineExceeded] when the deadline is over, or was with nothing to wait for: ready is nil then.
func (d *deadline) wait(ready <-chan struct{}) error {
	for {
		d.mu.Lock()
		at := d.at
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		var over <-chan time.Time
		if !at.IsZero() {
			left := time.Until(at)
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			over = time.After(left)
		}
		if ready == nil {
			return nil
		}
		select {
		case <-ready:
			return nil
		case <-over:
		case <-changed:
		}
	}
}

// dialStream connects to a container, as from.
func (w *wire) dialStream(ctx context.Context, from, to tcpip.FullAddress, number tcpip.NetworkProtocolNumber) (*stream, error) {
	q := &waiter.Queue{}
	refused := func(err error) (*stream, error) {
		return nil, &net.OpError{Op: "connect", Net: "tcp", Addr: &net.TCPAddr{IP: to.Addr.AsSlice(), Port: int(to.Port)}, Err: err}
	}
	ep, err := w.stack.NewEndpoint(tcp.ProtocolNumber, number, q)
	if err != nil {
		return refused(errors.New(err.String()))
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	q.EventRegister(&entry)
	defer q.EventUnregister(&entry)
	err = ep.Bind(from)
	if err == nil {
		err = ep.Connect(to)
	}
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			ep.Close()
			return refused(ctx.Err())
		case <-ready:
		}
		err = ep.LastError()
	}
	if err != nil {
		ep.Close()
		return refused(errors.New(err.String()))
	}
	return newStream(q, ep), nil
}

// moved is how much is moved at most while the connection is locked.
const moved = 512 << 10

// errLater ends a move: of what the socket does not take now, or of enough for one turn.
var errLater = errors.New("later")

// WriteTo implements [io.WriterTo].
func (s *stream) WriteTo(w io.Writer) (n int64, err error) {
	raw := socket(w)
	if raw == nil {
		return io.Copy(w, onlyReader{s})
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		if err := s.read.wait(nil); err != nil {
			return n, err
		}
		var res tcpip.ReadResult
		var closed tcpip.Error
		out := &sink{}
		err := raw.Write(func(fd uintptr) bool {
			*out = sink{fd: int(fd)}
			res, closed = s.ep.Read(out, tcpip.ReadOptions{})
			return out.n > 0 || !errors.Is(out.err, unix.EAGAIN)
		})
		n += int64(out.n)
		if out.n > 0 {
			s.ep.ModerateRecvBuf(res.Count)
		}
		switch {
		case err != nil:
			return n, err
		case out.err != nil && !errors.Is(out.err, unix.EAGAIN):
			return n, out.err
		case out.n > 0:
			continue
		}
		switch closed.(type) {
		case *tcpip.ErrWouldBlock:
			if err := s.read.wait(ready); err != nil {
				return n, err
			}
		case *tcpip.ErrClosedForReceive:
			return n, nil
		case nil:
		default:
			return n, errors.New(closed.String())
		}
	}
}

// A sink is a socket that takes what it can at once.
type sink struct {
	fd, n int
	err   error
}

func (k *sink) Write(b []byte) (n int, err error) {
	if k.n >= moved {
		return 0, errLater
	}
	for n == 0 && len(b) > 0 {
		if n, err = unix.Write(k.fd, b); err == nil {
			break
		}
		n = 0
		if !errors.Is(err, unix.EINTR) {
			k.err = err
			return 0, err
		}
	}
	k.n += n
	if n < len(b) {
		return n, errLater
	}
	return n, nil
}

// ReadFrom implements [io.ReaderFrom].
func (s *stream) ReadFrom(r io.Reader) (n int64, err error) {
	raw := socket(r)
	if raw == nil {
		return io.Copy(onlyWriter{s}, r)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		if err := s.write.wait(nil); err != nil {
			return n, err
		}
		var full tcpip.Error
		var over bool
		var broken error
		err := raw.Read(func(fd uintptr) bool {
			var in source
			if in, over, broken = pending(int(fd)); in.left == 0 {
				return over || broken != nil
			}
			var took int64
			took, full = s.ep.Write(&in, tcpip.WriteOptions{})
			n += took
			broken = in.err
			return true
		})
		if err = errors.Join(err, broken); err != nil || over {
			return n, err
		}
		switch full.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			if err := s.write.wait(ready); err != nil {
				return n, err
			}
		default:
			return n, errors.New(full.String())
		}
	}
}

// A source is a socket that is known to have so many bytes.
type source struct {
	fd, left int
	err      error
}

// pending returns what a socket has, whether it is at its end, or what is wrong with it.
func pending(fd int) (in source, over bool, err error) {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil || n > 0 {
		return source{fd: fd, left: min(n, moved)}, false, err
	}
	for {
		n, _, err = unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return source{}, false, nil
	case err == nil && n > 0: // since
		return source{fd: fd, left: n}, false, nil
	}
	return source{}, err == nil, err
}

// Len implements [tcpip.Payloader].
func (p *source) Len() int { return p.left }

func (p *source) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if len(b) == 0 {
		return 0, nil
	}
	b = b[:min(len(b), p.left)]
	for {
		n, err := unix.Read(p.fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			p.err = err
			return 0, err
		}
		p.left -= n
		return n, nil
	}
}

// socket returns the way to a socket of the kernel's, or nil.
func socket(of any) syscall.RawConn {
	if _, ok := of.(net.Conn); !ok {
		return nil
	}
	c, ok := of.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// These keep io.Copy from the ways above.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
