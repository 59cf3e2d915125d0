package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Reservation is ports of the host that are bound, and so are nobody else's.
type Reservation struct {
	s     *Store
	ports []*bound
	link  UserLink // in user mode, what leads to the sandbox

	group sync.WaitGroup
	mu    sync.Mutex
	conns map[io.Closer]bool // of the connections that are passed on; nil once it is closed
	done  bool
}

// bound is a port and its sockets: one of IPv4, one of IPv6, or both.
type bound struct {
	Port
	streams []net.Listener
	packets []*net.UDPConn

	associations []sctpSocket
}

// Reserve binds ports of the host, before there is a sandbox. Give the reservation to Attach, or close it. The errors are
// ErrInvalid and ErrPortInUse.
func (s *Store) Reserve(ports []Port) (*Reservation, error) {
	r := &Reservation{s: s}
	if err := r.add(ports); err != nil {
		r.Close()
		return nil, fmt.Errorf("reserve ports: %w", err)
	}
	return r, nil
}

// Close unbinds the ports and ends the connections that came by them.
func (r *Reservation) Close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.done = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
	for _, b := range r.ports {
		b.close()
	}
	r.mu.Unlock()
	r.group.Wait()
}

func (b *bound) close() {
	for _, l := range b.streams {
		_ = l.Close()
	}
	for _, c := range b.packets {
		_ = c.Close()
	}
	for _, c := range b.associations {
		_ = c.Close()
	}
	b.streams, b.packets, b.associations = nil, nil, nil
}

func (r *Reservation) list() []Port {
	var all []Port
	for _, b := range r.ports {
		all = append(all, b.Port)
	}
	return all
}

func (r *Reservation) add(ports []Port) error {
	for _, p := range ports {
		p.Protocol = cmp.Or(p.Protocol, "tcp")
		if err := p.check(); err != nil {
			return err
		}
		if p.Protocol == "sctp" && r.s.o.UserMode != nil {
			return invalid("Ports", "sctp is not passed on in user mode")
		}
	}
	return inside(r.s.ns, func() error {
		for _, p := range ports {
			p.Protocol = cmp.Or(p.Protocol, "tcp")
			b, err := bind(p)
			if err != nil {
				return fmt.Errorf("publish %s: %w", p, err)
			}
			r.ports = append(r.ports, b)
		}
		return nil
	})
}

// bind binds a port: the one that is asked for, the first free of a range, or any.
func bind(p Port) (*bound, error) {
	if p.HostEnd == 0 {
		p.HostEnd = p.Host
	}
	tries := int(p.HostEnd) - int(p.Host) + 1
	if p.Host == 0 {
		tries = 64 // the kernel chooses for one family, and the other may have it taken
	}
	var err error
	for range tries {
		b := &bound{Port: p}
		b.HostEnd = 0
		if err = b.bind(); err == nil {
			return b, nil
		}
		b.close()
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
		if p.Host != 0 {
			p.Host++
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrPortInUse, err)
}

// bind binds the sockets, in the calling thread's network namespace.
func (b *bound) bind() error {
	if a := b.Address; a.IsValid() {
		return b.listen(a)
	}
	if err := b.listen(netip.IPv4Unspecified()); err != nil {
		return err
	}
	err := b.listen(netip.IPv6Unspecified())
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil // the host has no IPv6
	}
	return err
}

func (b *bound) listen(a netip.Addr) error {
	at := netip.AddrPortFrom(a, b.Host)
	suffix := "4"
	if a.Is6() {
		suffix = "6"
	}
	switch b.Protocol {
	case "tcp":
		l, err := net.Listen("tcp"+suffix, at.String())
		if err != nil {
			return err
		}
		b.streams = append(b.streams, l)
		b.Host = l.Addr().(*net.TCPAddr).AddrPort().Port()
	case "udp":
		lc := net.ListenConfig{Control: askForDestination}
		l, err := lc.ListenPacket(context.Background(), "udp"+suffix, at.String())
		if err != nil {
			return err
		}
		c := l.(*net.UDPConn)
		b.packets = append(b.packets, c)
		b.Host = c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	case "sctp":
		l, port, err := listenSCTP(at)
		if err != nil {
			return err
		}
		b.associations = append(b.associations, l)
		b.Host = port
	}
	return nil
}

// askForDestination has a datagram come with the address that it was sent to, which is the answer's source.
func askForDestination(network, _ string, c syscall.RawConn) error {
	var err error
	e := c.Control(func(fd uintptr) {
		if network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	return errors.Join(e, os.NewSyscallError("setsockopt", err))
}

func as4(a netip.Addr) [4]byte {
	if !a.Unmap().Is4() {
		return [4]byte{}
	}
	return a.Unmap().As4()
}
