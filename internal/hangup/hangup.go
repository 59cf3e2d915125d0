// Package hangup tells whether whoever is at the other end of a connection has gone: a program that only writes now and then would not
// hear of it before. The end of what the other side sends is not it, for that may still read. And whether it has read.
package hangup

import (
	"context"
	"net"
	"syscall"
	"time"
)

// Read waits until the other end of a Unix connection has read what was written to it, for some time at most. Of other connections nobody can
// tell, nor where the kernel is not Linux: it returns at once.
func Read(c net.Conn, limit time.Duration) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	for until := time.Now().Add(limit); time.Now().Before(until); time.Sleep(100 * time.Microsecond) {
		waits := false
		if err := raw.Control(func(fd uintptr) { waits = unread(fd) }); err != nil || !waits {
			return
		}
	}
}

// every is the time between two looks.
const every = 500 * time.Millisecond

// Watch calls gone, once, when the other end of the connection has gone, unless ctx ends before. Of a TCP connection that is known only when
// the other end has refused something. Where the kernel is not Linux it is never called. It returns at once.
func Watch(ctx context.Context, c net.Conn, gone func()) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	go func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			over := false
			if err := raw.Control(func(fd uintptr) { over = hungUp(fd) }); err != nil { // this end is closed
				return
			}
			if over {
				gone()
				return
			}
		}
	}()
}
