package network

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// Dial connects as a program in the sandbox would, from the host's Go code: network and address are as for net.Dial, but
// that a name is that of a container on one of the sandbox's networks, or "localhost".
func (b *Sandbox) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	address, err = b.resolve(network, address)
	if err != nil {
		return nil, err
	}
	if b.s.o.UserMode != nil {
		return b.dialUser(ctx, network, netip.MustParseAddrPort(address))
	}
	err = inside(b.ns, func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen listens in the sandbox: network is "tcp", "tcp4" or "tcp6", and the address is as for Dial, or ":80" for all.
func (b *Sandbox) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	if address, err = b.resolveLocal(network, address); err != nil {
		return nil, err
	}
	if b.s.o.UserMode != nil {
		return b.listenUser(ctx, network, address)
	}
	err = inside(b.ns, func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket is Listen for "udp", "udp4" and "udp6".
func (b *Sandbox) ListenPacket(ctx context.Context, network, address string) (c net.PacketConn, err error) {
	if address, err = b.resolveLocal(network, address); err != nil {
		return nil, err
	}
	if b.s.o.UserMode != nil {
		return b.listenPacketUser(ctx, network, address)
	}
	err = inside(b.ns, func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// Transport returns a transport for http.Client whose connections Dial makes. Close its idle connections before the
// sandbox.
func (b *Sandbox) Transport() *http.Transport {
	return &http.Transport{DialContext: b.Dial}
}

// resolve replaces a name by an address, since a resolver's own sockets would be the host's.
func (b *Sandbox) resolve(network, address string) (string, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return "", &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if _, ok := parsePort(port); !ok || port == "" {
		return "", fmt.Errorf("%q is no port's number", port)
	}
	a, err := b.lookup(host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(a.String(), port), nil
}

func (b *Sandbox) resolveLocal(network, address string) (string, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		_, err := b.resolve(network, net.JoinHostPort("localhost", port))
		return address, err
	}
	return b.resolve(network, address)
}
