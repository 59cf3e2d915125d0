package network

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Of linux/sctp.h.
const (
	solSCTP = unix.IPPROTO_SCTP

	optInitMsg     = 2 // options of sockets
	optNoDelay     = 3
	optEvents      = 11
	optRecvRcvInfo = 32

	typeSndInfo = 2 // control messages
	typeRcvInfo = 3

	unordered = 1 // of a message's flags

	msgNotification = 1 << 15 // of what is received
	assocChange     = 1<<15 + 1
	commLost        = 1 // of its states
	shutdownComp    = 3
)

const (
	// sctpStreams is how many streams each way a client may have that comes by loopback: the kernel gives room to 64, if not asked.
	sctpStreams = 1024
	// maxSCTP bounds a message that is passed on. Of more than its buffer, 208 KiB if not asked, the kernel sends none.
	maxSCTP = 4 << 20
)

// An sctpSocket has one association, or listens for them.
type sctpSocket struct {
	*os.File
	address netip.Addr // its own
}

// newSCTP opens a socket in the calling thread's network namespace.
func newSCTP(address netip.Addr) (sctpSocket, error) {
	family := unix.AF_INET
	if address.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_SCTP)
	if err != nil {
		return sctpSocket{}, explain(os.NewSyscallError("socket", err), "sctp")
	}
	s := sctpSocket{os.NewFile(uintptr(fd), "sctp"), address}
	streams := binary.NativeEndian.AppendUint16(nil, sctpStreams) // out, and in at most
	streams = append(binary.NativeEndian.AppendUint16(streams, sctpStreams), 0, 0, 0, 0)
	err = unix.SetsockoptString(fd, solSCTP, optInitMsg, string(streams))
	if err == nil && family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err != nil {
		return sctpSocket{}, errors.Join(os.NewSyscallError("setsockopt", err), s.Close())
	}
	return s, nil
}

// control calls f with the socket's descriptor.
func (s sctpSocket) control(f func(fd int) error) error {
	c, err := s.SyscallConn()
	if err != nil {
		return err
	}
	e := c.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(e, err)
}

// listenSCTP listens at a port, in the calling thread's network namespace, and returns it: a free one for 0.
func listenSCTP(at netip.AddrPort) (_ sctpSocket, port uint16, err error) {
	s, err := newSCTP(at.Addr())
	if err != nil {
		return s, 0, err
	}
	err = s.control(func(fd int) error {
		if err := unix.Bind(fd, sockaddr(at, at.Addr().Is6())); err != nil {
			return os.NewSyscallError("bind", err)
		}
		if err := unix.Listen(fd, backlog); err != nil {
			return os.NewSyscallError("listen", err)
		}
		name, err := unix.Getsockname(fd)
		switch n := name.(type) {
		case *unix.SockaddrInet4:
			port = uint16(n.Port)
		case *unix.SockaddrInet6:
			port = uint16(n.Port)
		}
		return os.NewSyscallError("getsockname", err)
	})
	if err != nil {
		return s, 0, errors.Join(err, s.Close())
	}
	return s, port, nil
}

// accept waits for a client.
func (s sctpSocket) accept() (client sctpSocket, err error) {
	c, err := s.SyscallConn()
	if err != nil {
		return client, err
	}
	var fd int
	var failed error
	err = c.Read(func(l uintptr) bool {
		fd, _, failed = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return failed != unix.EAGAIN
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return client, err
	}
	return sctpSocket{os.NewFile(uintptr(fd), "sctp"), s.address}, nil
}

// dialSCTP connects from the host. Of its addresses the other side is told the one that leads there: to others it would send, too, and
// those are translated.
func (s *Store) dialSCTP(ctx context.Context, to netip.AddrPort) (c sctpSocket, err error) {
	probe, err := s.dial(ctx, "udp", to) // sends nothing
	if err != nil {
		return c, err
	}
	from := netip.AddrPortFrom(probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), 0)
	_ = probe.Close()
	err = inside(s.ns, func() (err error) {
		c, err = newSCTP(to.Addr())
		return err
	})
	if err != nil {
		return c, err
	}
	err = c.control(func(fd int) error { return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(from, to.Addr().Is6()))) })
	if err == nil {
		err = connect(ctx, c.File, sockaddr(to, to.Addr().Is6()))
	}
	if err != nil {
		return c, errors.Join(err, c.Close())
	}
	return c, nil
}

// passSCTP connects to the sandbox and passes on messages both ways until both have ended.
func (r *Reservation) passSCTP(c sctpSocket, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	d, err := r.s.dialSCTP(ctx, to)
	if err != nil {
		c.abort() // refused there, aborted here
		return
	}
	if !r.track(d) {
		_ = d.Close()
		return
	}
	defer r.untrack(d)
	for _, s := range []sctpSocket{c, d} {
		err = errors.Join(err, s.control(prepareSCTP))
	}
	if err != nil {
		c.abort()
		d.abort()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { messages(c, d) })
	both.Go(func() { messages(d, c) })
	both.Wait()
}

// prepareSCTP has messages sent at once, and come with what goes with them. It asks for news of the association, too: of the end of one
// that was shut down here nothing else tells.
func prepareSCTP(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, solSCTP, optNoDelay, 1), unix.SetsockoptInt(fd, solSCTP, optRecvRcvInfo, 1),
		unix.SetsockoptString(fd, solSCTP, optEvents, "\x00\x01"), // not of data, of the association
	)
}

// messages passes on messages until the end, and passes the end on: that of one direction is the association's, so what still comes the
// other way is thrown away. Where one association has failed the other does.
func messages(from, to sctpSocket) {
	b := make([]byte, 64<<10)
	for {
		n, info, err := from.receive(&b)
		if err == nil && n == 0 {
			_ = to.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
			return
		}
		if err == nil {
			err = to.send(b[:n], info)
			if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ENOTCONN) {
				continue // it has ended, and who receives from it sees how
			}
		}
		if err != nil {
			from.abort()
			to.abort()
			return
		}
	}
}

// A messageInfo is what goes with a message.
type messageInfo struct {
	stream  uint16
	flags   uint16
	payload [4]byte // the payload protocol identifier, as it is sent
}

// receive reads a whole message into *b, which it may make larger. It returns 0 bytes at the end.
func (s sctpSocket) receive(b *[]byte) (n int, info messageInfo, err error) {
	c, err := s.SyscallConn()
	if err != nil {
		return 0, info, err
	}
	oob := make([]byte, 128)
	for {
		if n == len(*b) {
			if n >= maxSCTP {
				return 0, info, unix.EMSGSIZE
			}
			*b = append(*b, make([]byte, n)...)
		}
		var part, oobn, flags int
		var failed error
		err := c.Read(func(fd uintptr) bool {
			part, oobn, flags, _, failed = unix.Recvmsg(int(fd), (*b)[n:], oob, 0)
			return failed != unix.EAGAIN
		})
		if err == nil {
			err = failed
		}
		if err != nil || part == 0 {
			return 0, info, err
		}
		if flags&msgNotification != 0 {
			switch associationState((*b)[n : n+part]) {
			case commLost:
				return 0, info, unix.ECONNRESET
			case shutdownComp:
				return 0, info, nil
			}
			continue
		}
		if n == 0 {
			info = infoOf(oob[:oobn])
		}
		if n += part; flags&unix.MSG_EOR != 0 {
			return n, info, nil
		}
	}
}

// associationState returns what a notification says of the association; -1: nothing.
func associationState(b []byte) int {
	if len(b) < 10 || binary.NativeEndian.Uint16(b) != assocChange { // type, flags, length of 4 bytes, state
		return -1
	}
	return int(binary.NativeEndian.Uint16(b[8:]))
}

func infoOf(oob []byte) (info messageInfo) {
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return info
	}
	for _, m := range all {
		if m.Header.Level == solSCTP && m.Header.Type == typeRcvInfo && len(m.Data) >= 12 { // stream, number in it, flags, none, payload
			info.stream, info.flags = binary.NativeEndian.Uint16(m.Data), binary.NativeEndian.Uint16(m.Data[4:])&unordered
			copy(info.payload[:], m.Data[8:])
		}
	}
	return info
}

// send sends a message.
func (s sctpSocket) send(b []byte, info messageInfo) error {
	c, err := s.SyscallConn()
	if err != nil {
		return err
	}
	const size = 16 // stream, flags, payload, context, association
	oob := make([]byte, unix.CmsgSpace(size))
	h := &unix.Cmsghdr{Level: solSCTP, Type: typeSndInfo}
	h.SetLen(unix.CmsgLen(size))
	if _, err := binary.Encode(oob, binary.NativeEndian, h); err != nil {
		return err
	}
	data := oob[unix.CmsgLen(0):]
	binary.NativeEndian.PutUint16(data, info.stream)
	binary.NativeEndian.PutUint16(data[2:], info.flags)
	copy(data[4:], info.payload[:])
	var failed error
	err = c.Write(func(fd uintptr) bool {
		failed = unix.Sendmsg(int(fd), b, oob, nil, unix.MSG_NOSIGNAL)
		return failed != unix.EAGAIN
	})
	if err == nil {
		err = failed
	}
	return err
}

// abort ends the association at once, and has the other side see that.
func (s sctpSocket) abort() {
	_ = s.control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	_ = s.Close()
}
