package usernet

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	dialTimeout = 10 * time.Second
	udpIdle     = 90 * time.Second
	dnsIdle     = 10 * time.Second
	maxUDP      = 1024 // sessions of one container at a time
)

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return netip.AddrPortFrom(addr, port)
}

// afterDone is context.AfterFunc, but that stop waits for f if it has begun.
func afterDone(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	first := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !first() {
			<-done
		}
	}
}

// mayReach tells whether the container may connect to an address that is not its network's.
func (p *port) mayReach(protocol uint8, to netip.AddrPort) bool {
	a := to.Addr()
	return !forbidden(a) && !p.w.own(a) && !p.w.n.Internal && p.e.Allow(protocol, to)
}

// tcp makes a connection that a container asks for, and refuses it if it cannot be made.
func (w *wire) tcp(r *tcp.ForwarderRequest) {
	id := r.ID()
	to := addrPort(id.LocalAddress, id.LocalPort)
	p := w.port(addrPort(id.RemoteAddress, 0).Addr())
	if p == nil {
		r.Complete(true)
		return
	}
	if w.gateway(to.Addr()) && to.Port() == 53 {
		if c := accept(r); c != nil {
			p.start(func() { p.resolveStream(c) }, c.Close)
		}
		return
	}
	if !p.mayReach(uint8(header.TCPProtocolNumber), to) {
		r.Complete(true)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		r.Complete(true)
		return
	}
	in := accept(r)
	if in == nil {
		_ = out.Close()
		return
	}
	p.start(func() { p.splice(in, out.(*net.TCPConn)) }, in.Close, out.Close)
}

// accept completes a container's connection.
func accept(r *tcp.ForwarderRequest) *stream {
	q := &waiter.Queue{}
	ep, err := r.CreateEndpoint(q)
	if err != nil {
		r.Complete(true)
		return nil
	}
	r.Complete(false)
	ep.SocketOptions().SetKeepAlive(true)
	return newStream(q, ep)
}

// splice copies both ways until both have ended.
func (p *port) splice(in *stream, out *net.TCPConn) {
	stop := afterDone(p.ctx, func() { _, _ = in.Close(), out.Close() })
	defer stop()
	defer in.Close()
	defer out.Close()
	pass := func(to, from interface {
		net.Conn
		CloseWrite() error
	}) {
		if _, err := io.Copy(to, from); err != nil {
			_, _ = in.Close(), out.Close()
			return
		}
		_ = to.CloseWrite()
	}
	var both sync.WaitGroup
	both.Go(func() { pass(out, in) })
	both.Go(func() { pass(in, out) })
	both.Wait()
}

// udp makes a session for a container's datagrams to one destination.
func (w *wire) udp(r *udp.ForwarderRequest) bool {
	id := r.ID()
	to := addrPort(id.LocalAddress, id.LocalPort)
	p := w.port(addrPort(id.RemoteAddress, 0).Addr())
	if p == nil {
		return true
	}
	resolver := w.gateway(to.Addr()) && to.Port() == 53
	if !resolver && w.gateway(to.Addr()) {
		return false // nobody is there
	}
	if !resolver && !p.mayReach(uint8(header.UDPProtocolNumber), to) {
		return true
	}
	select {
	case p.udp <- struct{}{}:
	default:
		return true
	}
	var q waiter.Queue
	ep, err := r.CreateEndpoint(&q)
	if err != nil {
		<-p.udp
		return true
	}
	in := gonet.NewUDPConn(&q, ep)
	p.group.Go(func() {
		defer func() { <-p.udp }()
		stop := afterDone(p.ctx, func() { _ = in.Close() })
		defer stop()
		defer in.Close()
		if resolver {
			p.resolvePackets(in)
			return
		}
		p.session(in, to)
	})
	return true
}

// session copies datagrams until none has come either way for a while.
func (p *port) session(in *gonet.UDPConn, to netip.AddrPort) {
	out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return
	}
	defer out.Close()
	stop := afterDone(p.ctx, func() { _ = out.Close() })
	defer stop()
	copyTo := func(dst, src net.Conn) {
		b := make([]byte, 1<<16)
		for {
			_ = src.SetReadDeadline(time.Now().Add(udpIdle))
			n, err := src.Read(b)
			if err != nil {
				break
			}
			_ = dst.SetReadDeadline(time.Now().Add(udpIdle))
			if _, err := dst.Write(b[:n]); err != nil {
				break
			}
		}
		_, _ = in.Close(), out.Close()
	}
	var both sync.WaitGroup
	both.Go(func() { copyTo(out, in) })
	both.Go(func() { copyTo(in, out) })
	both.Wait()
}

func (p *port) resolvePackets(c *gonet.UDPConn) {
	b := make([]byte, 1<<16)
	for {
		_ = c.SetReadDeadline(time.Now().Add(dnsIdle))
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if answer := p.e.Answer(append([]byte(nil), b[:n]...), "udp"); answer != nil {
			_, _ = c.Write(answer)
		}
	}
}

// resolveStream answers messages with their length before them.
func (p *port) resolveStream(c *stream) {
	stop := afterDone(p.ctx, func() { _ = c.Close() })
	defer stop()
	defer c.Close()
	for {
		_ = c.SetDeadline(time.Now().Add(dnsIdle))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		answer := p.e.Answer(b, "tcp")
		if answer == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

var _ stack.LinkEndpoint = (*wire)(nil)
