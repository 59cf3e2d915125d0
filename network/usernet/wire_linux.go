package usernet

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/caisson-engine/caisson/network"
)

const (
	nicID      = 1
	defaultMTU = 65520
	maxConns   = 1024 // connections that are being made
	tcpBuffer  = 4 << 20
)

// A wire is one network: the ports of its containers, and the stack that is everybody else to them. For the stack it is a link without
// addresses of its own: what goes where is told by the addresses of IP.
type wire struct {
	n     network.Network
	mtu   uint32
	mac   net.HardwareAddr // the gateway's
	stack *stack.Stack

	mu    sync.RWMutex
	ports map[netip.Addr]*port // by each of its addresses
	disp  stack.NetworkDispatcher
}

func newWire(n *network.Network) (*wire, error) {
	w := &wire{n: *n, mtu: uint32(n.MTU), ports: make(map[netip.Addr]*port)}
	if w.mtu == 0 {
		w.mtu = defaultMTU
	}
	w.mac = gatewayMAC(n)
	w.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := w.configure(); err != nil {
		w.close()
		return nil, fmt.Errorf("user-mode network: %w", err)
	}
	return w, nil
}

func (w *wire) configure() error {
	failed := func(what string, err tcpip.Error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s: %s", what, err)
	}
	if err := w.stack.CreateNIC(nicID, w); err != nil {
		return failed("make interface", err)
	}
	// Whatever a container calls, the stack is it, and it calls containers with whatever address.
	if err := w.stack.SetPromiscuousMode(nicID, true); err != nil {
		return failed("set promiscuous", err)
	}
	if err := w.stack.SetSpoofing(nicID, true); err != nil {
		return failed("set spoofing", err)
	}
	for _, s := range w.n.Subnets {
		number, any := ipv4.ProtocolNumber, header.IPv4EmptySubnet
		if s.Gateway.Is6() {
			number, any = ipv6.ProtocolNumber, header.IPv6EmptySubnet
		}
		addr := tcpip.ProtocolAddress{Protocol: number, AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(s.Gateway.AsSlice()), PrefixLen: s.Prefix.Bits(),
		}}
		if err := w.stack.AddProtocolAddress(nicID, addr, stack.AddressProperties{}); err != nil {
			return failed("add address", err)
		}
		w.stack.AddRoute(tcpip.Route{Destination: any, NIC: nicID})
	}
	sack := tcpip.TCPSACKEnabled(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpBuffer / 4, Max: tcpBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpBuffer / 4, Max: tcpBuffer}
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &receive, &send, &moderate} {
		if err := w.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return failed("set option", err)
		}
	}
	w.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(w.stack, 0, maxConns, w.tcp).HandlePacket)
	w.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(w.stack, w.udp).HandlePacket)
	return nil
}

// gatewayMAC is made of the gateway's address.
func gatewayMAC(n *network.Network) net.HardwareAddr {
	b := n.Subnets[0].Gateway.AsSlice()
	return append(net.HardwareAddr{0x02, 0xca}, b[len(b)-4:]...)
}

func (w *wire) add(p *port) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range p.addrs {
		w.ports[a] = p
	}
}

// remove tells whether it was the last one.
func (w *wire) remove(p *port) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range p.addrs {
		if w.ports[a] == p {
			delete(w.ports, a)
		}
	}
	return len(w.ports) == 0
}

func (w *wire) port(a netip.Addr) *port {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.ports[a]
}

func (w *wire) close() {
	w.stack.Close()
	w.stack.Wait()
}

// own tells whether an address is of the network's subnets.
func (w *wire) own(a netip.Addr) bool {
	for _, s := range w.n.Subnets {
		if s.Prefix.Contains(a) {
			return true
		}
	}
	return false
}

func (w *wire) gateway(a netip.Addr) bool {
	for _, s := range w.n.Subnets {
		if s.Gateway == a {
			return true
		}
	}
	return false
}

// inject gives a packet of IP to the stack, and is its end.
func (w *wire) inject(number tcpip.NetworkProtocolNumber, packet buffer.Buffer) {
	w.mu.RLock()
	d := w.disp
	w.mu.RUnlock()
	if d == nil {
		packet.Release()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: packet})
	d.DeliverNetworkPacket(number, pkt)
	pkt.DecRef()
}

// WritePackets sends what the stack has for containers.
func (w *wire) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		h := pkt.NetworkHeader().Slice()
		var to netip.Addr
		switch pkt.NetworkProtocolNumber {
		case ipv4.ProtocolNumber:
			to, _ = netip.AddrFromSlice(h[16:20])
		case ipv6.ProtocolNumber:
			to, _ = netip.AddrFromSlice(h[24:40])
		}
		if p := w.port(to); p != nil {
			p.send(pkt)
		}
	}
	return pkts.Len(), nil
}

// What follows makes it a stack.LinkEndpoint.

// MTU is in bytes.
func (w *wire) MTU() uint32 { return w.mtu }

// SetMTU does nothing.
func (w *wire) SetMTU(uint32) {}

// MaxHeaderLength is that of no header.
func (w *wire) MaxHeaderLength() uint16 { return 0 }

// LinkAddress is none.
func (w *wire) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress does nothing.
func (w *wire) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities say that checksums are the kernel's matter.
func (w *wire) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
}

// SupportedGSO makes it a [stack.GSOEndpoint]: what is larger than the MTU is cut up by the kernel, if it is at all.
func (w *wire) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// GSOMaxSize is in bytes, with headers.
func (w *wire) GSOMaxSize() uint32 { return maxPacket }

// Attach takes the stack's side.
func (w *wire) Attach(d stack.NetworkDispatcher) {
	w.mu.Lock()
	w.disp = d
	w.mu.Unlock()
}

// IsAttached tells whether Attach was called.
func (w *wire) IsAttached() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.disp != nil
}

// Wait does nothing.
func (w *wire) Wait() {}

// ARPHardwareType is none.
func (w *wire) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader does nothing.
func (w *wire) AddHeader(*stack.PacketBuffer) {}

// ParseHeader does nothing.
func (w *wire) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close does nothing.
func (w *wire) Close() {}

// SetOnCloseAction does nothing.
func (w *wire) SetOnCloseAction(func()) {}
