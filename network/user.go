package network

import (
	"context"
	"net"
	"net/netip"
	"os"
)

// A UserMode is networking in this process, for programs that may not change the host's network: package network/usernet has
// one. A store with it needs no privilege; see [Options].
type UserMode interface {
	// Join gives a network namespace an interface of a network. What it does it has undone when it returns an error.
	Join(ctx context.Context, e *UserEndpoint) (UserLink, error)
}

// A UserEndpoint is what a UserMode has to make.
type UserEndpoint struct {
	// NetworkNamespace is where the interface is to be, and UserNamespace owns that. The Sandbox closes them.
	NetworkNamespace, UserNamespace *os.File
	// Network and Endpoint say which addresses it gets. Endpoint.Interface is the name, or empty for the first free of
	// "eth0", "eth1", … . Metric is that of the default route, which an internal network has none of.
	Network  Network
	Endpoint Endpoint
	Metric   int
	// Answer answers a question to the gateway's port 53: a message of DNS, by "udp" or "tcp". Nil is no answer.
	Answer func(query []byte, protocol string) []byte
	// Allow is asked, and so told, of each connection to another address than the network's own: by a protocol's number, to an
	// address and a port.
	Allow func(protocol uint8, to netip.AddrPort) bool
}

// A UserLink is an interface that a UserMode made.
type UserLink interface {
	// Interface is its name.
	Interface() string
	// Dial connects to the namespace, by "tcp" or "udp". from is who the namespace sees as the client: the gateway, if it is not valid.
	Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	// Close ends it, and the connections by it.
	Close() error
}
