package usernet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/network"
)

// Mode is networks in this process. It is safe for use by several goroutines.
type Mode struct {
	mu    sync.Mutex
	wires map[string]*wire // by the network's ID
}

var _ network.UserMode = (*Mode)(nil)

// New returns a Mode without networks.
func New() *Mode { return &Mode{wires: make(map[string]*wire)} }

// Join implements [network.UserMode].
func (m *Mode) Join(ctx context.Context, e *network.UserEndpoint) (_ network.UserLink, err error) {
	tun, rtnl, err := openNetwork(ctx, e)
	if err != nil {
		return nil, err
	}
	defer rtnl.Close()
	p := &port{m: m, e: *e, udp: make(chan struct{}, maxUDP), echoes: make(chan struct{}, maxEchoes)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if err := p.open(tun, rtnl); err != nil {
		p.cancel()
		return nil, fmt.Errorf("interface of the sandbox: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.wires[e.Network.ID]
	if w == nil {
		if w, err = newWire(&e.Network); err != nil {
			return nil, errors.Join(err, p.closeTap())
		}
		m.wires[e.Network.ID] = w
	}
	p.w = w
	w.add(p)
	p.group.Go(p.run)
	return p, nil
}

// openNetwork opens a tap device and an rtnetlink socket in the endpoint's network namespace.
func openNetwork(ctx context.Context, e *network.UserEndpoint) (tun, rtnl *os.File, err error) {
	own, err := os.Stat("/proc/self/ns/user")
	if err != nil {
		return nil, nil, err
	}
	theirs, err := e.UserNamespace.Stat()
	if err != nil {
		return nil, nil, err
	}
	user := e.UserNamespace
	if os.SameFile(own, theirs) {
		user = nil
	}
	return namespace.OpenNetwork(ctx, user, e.NetworkNamespace)
}

// Interface implements [network.UserLink].
func (p *port) Interface() string { return p.name }

// Close implements [network.UserLink].
func (p *port) Close() error {
	p.once.Do(func() {
		p.m.mu.Lock()
		last := p.w.remove(p)
		if last {
			delete(p.m.wires, p.e.Network.ID)
		}
		p.m.mu.Unlock()
		p.mu.Lock()
		p.cancel()
		p.mu.Unlock()
		p.closed = p.closeTap()
		p.group.Wait()
		if last {
			p.w.close()
		}
	})
	return p.closed
}

// Dial implements [network.UserLink].
func (p *port) Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	from = from.Unmap()
	if !from.IsValid() || from.IsLoopback() || from.IsUnspecified() || from.Is6() != to.Addr().Is6() || p.w.own(from) || forbidden(from) {
		sub, ok := p.e.Network.Subnet(to.Addr().Is6())
		if !ok {
			return nil, &net.AddrError{Err: "no address of that family", Addr: to.String()}
		}
		from = sub.Gateway
	}
	number := ipv4.ProtocolNumber
	if to.Addr().Is6() {
		number = ipv6.ProtocolNumber
	}
	local := tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(from.AsSlice())}
	remote := tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()}
	if network == "udp" {
		return gonet.DialUDP(p.w.stack, &local, &remote, number)
	}
	return p.w.dialStream(ctx, local, remote, number)
}
