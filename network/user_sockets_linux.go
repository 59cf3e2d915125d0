package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// In user mode no thread of this program may enter a sandbox. A socket that a process opened there is the sandbox's wherever it is used.

// openUser opens a socket in the sandbox.
func (b *Sandbox) openUser(ctx context.Context, ipv6 bool, network string) (*os.File, error) {
	if strings.HasSuffix(network, "4") && ipv6 || strings.HasSuffix(network, "6") && !ipv6 {
		return nil, &net.AddrError{Err: "the address is of the other family than", Addr: network}
	}
	own, err := os.Stat("/proc/self/ns/user")
	if err != nil {
		return nil, err
	}
	theirs, err := b.user.Stat()
	if err != nil {
		return nil, err
	}
	user := b.user
	if os.SameFile(own, theirs) {
		user = nil
	}
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	if ipv6 {
		domain = unix.AF_INET6
	}
	if strings.HasPrefix(network, "udp") {
		kind = unix.SOCK_DGRAM
	}
	return namespace.OpenSocket(ctx, user, b.ns, domain, kind)
}

func sockaddr(a netip.AddrPort, ipv6 bool) unix.Sockaddr {
	if ipv6 {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: as4(a.Addr()), Port: int(a.Port())}
}

// dialUser connects as Dial does.
func (b *Sandbox) dialUser(ctx context.Context, network string, to netip.AddrPort) (c net.Conn, err error) {
	defer func() {
		if err != nil {
			err = &net.OpError{Op: "dial", Net: network, Addr: &net.TCPAddr{IP: to.Addr().AsSlice(), Port: int(to.Port())}, Err: err}
		}
	}()
	ipv6 := to.Addr().Is6()
	f, err := b.openUser(ctx, ipv6, network)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := connect(ctx, f, sockaddr(to, ipv6)); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// connect connects a socket that does not block.
func connect(ctx context.Context, f *os.File, to unix.Sockaddr) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = os.NewSyscallError("connect", unix.Connect(int(fd), to)) })
	if err == nil {
		err = refused
	}
	if errors.Is(err, unix.EINPROGRESS) {
		stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
		defer stop()
		var failed error
		err = raw.Write(func(fd uintptr) (over bool) { // called again when the runtime hears of the socket
			over, failed = connected(int(fd))
			return over
		})
		err = errors.Join(err, failed)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// connected tells whether a socket that was to be connected is, or why it cannot be.
func connected(fd int) (over bool, err error) {
	no, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt", err)
	}
	if no != 0 {
		return true, os.NewSyscallError("connect", syscall.Errno(no))
	}
	_, err = unix.Getpeername(fd)
	return err == nil, nil
}

// bindUser opens a socket that is bound as Listen is told.
func (b *Sandbox) bindUser(ctx context.Context, network, address string) (f *os.File, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, _ := parsePort(port) // it was looked at
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), number)
	switch {
	case host != "":
		a, err := netip.ParseAddr(host)
		if err != nil {
			return nil, err
		}
		at = netip.AddrPortFrom(a, number)
	case strings.HasSuffix(network, "4"):
		at = netip.AddrPortFrom(netip.IPv4Unspecified(), number)
	}
	ipv6 := at.Addr().Is6()
	if f, err = b.openUser(ctx, ipv6, network); err != nil {
		if host == "" && errors.Is(err, unix.EAFNOSUPPORT) && !strings.HasSuffix(network, "6") {
			return b.bindUser(ctx, network, "0.0.0.0:"+port)
		}
		return nil, err
	}
	fd := int(f.Fd())
	if ipv6 {
		only := 0 // ":80" is both families'
		if host != "" || strings.HasSuffix(network, "6") {
			only = 1
		}
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only))
	}
	if err == nil && strings.HasPrefix(network, "tcp") {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(at, ipv6)))
	}
	if err == nil && strings.HasPrefix(network, "tcp") {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// backlog is what the kernel takes by default, at most.
const backlog = 4096

// listenUser listens as Listen does.
func (b *Sandbox) listenUser(ctx context.Context, network, address string) (net.Listener, error) {
	f, err := b.bindUser(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	defer f.Close()
	return net.FileListener(f)
}

// listenPacketUser listens as ListenPacket does.
func (b *Sandbox) listenPacketUser(ctx context.Context, network, address string) (net.PacketConn, error) {
	f, err := b.bindUser(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	defer f.Close()
	return net.FilePacketConn(f)
}
