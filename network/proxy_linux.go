package network

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 10 * time.Second
	udpIdle     = 90 * time.Second
	udpSessions = 1024 // clients of one port at a time
)

// serve passes on what comes to the sockets of the ports: by the host's loopback, or in a family that the sandbox lacks.
// Everything else is translated by the kernel and never comes here.
func (r *Reservation) serve(e *Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = make(map[io.Closer]bool)
	for _, b := range r.ports {
		for _, l := range b.streams {
			to := target(e, l.Addr().(*net.TCPAddr).AddrPort().Addr(), b.Container)
			r.group.Go(func() { accept(r, l.Accept, func(c net.Conn) { r.pass(c, to) }) })
		}
		for _, c := range b.packets {
			r.group.Go(func() { r.receive(c, target(e, c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), b.Container)) })
		}
		for _, l := range b.associations {
			to := target(e, l.address, b.Container)
			r.group.Go(func() { accept(r, l.accept, func(c sctpSocket) { r.passSCTP(c, to) }) })
		}
	}
}

// target is the sandbox's address, of the family of the socket if it has one.
func target(e *Endpoint, of netip.Addr, port uint16) netip.AddrPort {
	a := e.IPv4.Addr()
	if !a.IsValid() || of.Is6() && e.IPv6.IsValid() {
		a = e.IPv6.Addr()
	}
	return netip.AddrPortFrom(a, port)
}

// track notes a connection, so that Close ends it. It is false if that has been called.
func (r *Reservation) track(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return false
	}
	r.conns[c] = true
	return true
}

func (r *Reservation) untrack(c io.Closer) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close()
}

// accept has the connections that next returns passed on, until the reservation is closed.
func accept[C io.Closer](r *Reservation, next func() (C, error), pass func(C)) {
	for pause := time.Millisecond; ; {
		c, err := next()
		if err != nil {
			r.mu.Lock()
			done := r.done
			r.mu.Unlock()
			if done {
				return
			}
			time.Sleep(pause) // no descriptor is free, say
			pause = min(2*pause, time.Second)
			continue
		}
		pause = time.Millisecond
		if !r.track(c) {
			_ = c.Close()
			return
		}
		r.group.Go(func() {
			defer r.untrack(c)
			pass(c)
		})
	}
}

// pass connects to the sandbox and copies both ways until both have ended.
func (r *Reservation) pass(c net.Conn, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	d, err := r.dial(ctx, "tcp", c.RemoteAddr(), to)
	if err != nil {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // refused there, reset here
		}
		return
	}
	if !r.track(d) {
		_ = d.Close()
		return
	}
	defer r.untrack(d)
	var both sync.WaitGroup
	both.Go(func() { stream(c, d) })
	both.Go(func() { stream(d, c) })
	both.Wait()
}

// stream copies until the end, and passes the end on.
func stream(from, to net.Conn) {
	_, err := io.Copy(to, from)
	if t, ok := to.(interface{ CloseWrite() error }); ok && err == nil && t.CloseWrite() == nil {
		return
	}
	_, _ = to.Close(), from.Close()
}

// dial connects from the host.
func (s *Store) dial(ctx context.Context, network string, to netip.AddrPort) (c net.Conn, err error) {
	err = inside(s.ns, func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, network, to.String())
		return err
	})
	return c, err
}

// dial connects to the sandbox for a client.
func (r *Reservation) dial(ctx context.Context, network string, from net.Addr, to netip.AddrPort) (net.Conn, error) {
	if r.link == nil {
		return r.s.dial(ctx, network, to)
	}
	var client netip.AddrPort
	switch a := from.(type) {
	case *net.TCPAddr:
		client = a.AddrPort()
	case *net.UDPAddr:
		client = a.AddrPort()
	}
	return r.link.Dial(ctx, network, client.Addr(), to)
}

// A session is one client of a port of UDP.
type session struct {
	conn net.Conn
	oob  []byte
}

// receive passes datagrams on: each client has a socket of its own towards the sandbox.
func (r *Reservation) receive(c *net.UDPConn, to netip.AddrPort) {
	var mu sync.Mutex
	clients := make(map[netip.AddrPort]*session)
	b, oob := make([]byte, 64<<10), make([]byte, 128)
	for {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			r.mu.Lock()
			done := r.done
			r.mu.Unlock()
			if done {
				return
			}
			time.Sleep(time.Millisecond)
			continue
		}
		mu.Lock()
		s := clients[from]
		full := len(clients) >= udpSessions
		mu.Unlock()
		if s == nil {
			if full {
				continue
			}
			conn, err := r.dial(context.Background(), "udp", net.UDPAddrFromAddrPort(from), to)
			if err != nil {
				continue
			}
			if !r.track(conn) {
				_ = conn.Close()
				return
			}
			s = &session{conn, source(oob[:oobn])}
			mu.Lock()
			clients[from] = s
			mu.Unlock()
			r.group.Go(func() {
				r.answer(c, s, from)
				mu.Lock()
				delete(clients, from)
				mu.Unlock()
				r.untrack(conn)
			})
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(udpIdle))
		_, _ = s.conn.Write(b[:n])
	}
}

// answer passes a session's datagrams back until none has come either way for a while.
func (r *Reservation) answer(c *net.UDPConn, s *session, client netip.AddrPort) {
	b := make([]byte, 64<<10)
	_ = s.conn.SetReadDeadline(time.Now().Add(udpIdle))
	for {
		n, err := s.conn.Read(b)
		if err != nil {
			return
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(udpIdle))
		if _, _, err := c.WriteMsgUDPAddrPort(b[:n], s.oob, client); err != nil {
			return
		}
	}
}

// source turns the control message that says where a datagram was sent to into one that has the answer come from there.
func source(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])})
		}
	}
	return nil
}
