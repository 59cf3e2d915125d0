package usernet

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/caisson-engine/caisson/network"
)

const (
	vnetHeader = 10 // struct virtio_net_hdr
	ethHeader  = 14
	headers    = vnetHeader + ethHeader
	needsCsum  = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	gsoTCP4    = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	gsoTCP6    = 4 // VIRTIO_NET_HDR_GSO_TCPV6
)

// A port is a container's interface on a wire.
type port struct {
	m     *Mode
	w     *wire
	e     network.UserEndpoint
	name  string
	mac   [6]byte
	addrs []netip.Addr

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	mu     sync.Mutex // held to begin something of group that run does not, and to cancel
	once   sync.Once
	closed error

	tapMu sync.RWMutex // held for writing to close it
	tap   *os.File     // nil when it is closed
	fd    int

	udp    chan struct{} // a slot for each session
	echoes chan struct{}
}

func (p *port) closeTap() error {
	p.tapMu.Lock()
	defer p.tapMu.Unlock()
	if p.tap == nil {
		return nil
	}
	err := p.tap.Close()
	p.tap = nil
	return err
}

// start has f run, until the port is closed; if it is, what f would have used is.
func (p *port) start(f func(), otherwise ...func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		for _, end := range otherwise {
			_ = end()
		}
		return
	}
	p.group.Go(f)
}

// run takes what the container sends.
func (p *port) run() {
	p.tapMu.RLock()
	tap := p.tap
	p.tapMu.RUnlock()
	if tap == nil {
		return
	}
	raw, err := tap.SyscallConn()
	if err != nil {
		return
	}
	f := &frame{}
	defer f.release()
	for p.ctx.Err() == nil {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, failed = unix.Readv(int(fd), f.parts())
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil || failed != nil && !errors.Is(failed, unix.EINTR) {
			return // the port is closed, or the namespace is gone, and the device with it
		}
		if failed == nil && n > headers && n <= headers+maxPacket {
			f.size = n - headers
			p.receive(f)
		}
	}
}

const (
	maxPacket = 1<<16 - 1 // of IP, in bytes
	copied    = 32 << 10  // packets up to this size are copied: the stack bounds what it keeps by the size of packets, not of their memory
)

// A frame is what the container sends: headers, and a packet in memory of the stack's, to which it is handed as it is if it is large.
type frame struct {
	head [headers]byte
	view *buffer.View
	size int
}

// parts are where the next frame goes.
func (f *frame) parts() [][]byte {
	if f.view == nil {
		f.view = buffer.NewViewSize(maxPacket)
	}
	return [][]byte{f.head[:], f.view.AsSlice()}
}

func (f *frame) packet() []byte { return f.view.AsSlice()[:f.size] }

// take hands out the packet.
func (f *frame) take() buffer.Buffer {
	if f.size <= copied {
		return buffer.MakeWithData(f.packet())
	}
	v := f.view
	f.view = nil
	v.CapLength(f.size)
	return buffer.MakeWithView(v)
}

func (f *frame) release() {
	if f.view != nil {
		f.view.Release()
	}
}

// receive looks at a frame that the container sends: nothing in another's name goes on.
func (p *port) receive(f *frame) {
	eth, packet := f.head[vnetHeader:], f.packet()
	if [6]byte(eth[6:12]) != p.mac {
		return
	}
	switch binary.BigEndian.Uint16(eth[12:]) {
	case unix.ETH_P_ARP:
		p.arp(packet)
	case unix.ETH_P_IP:
		h := header.IPv4(packet)
		if !h.IsValid(len(packet)) {
			return
		}
		from, to := netip.AddrFrom4(h.SourceAddress().As4()), netip.AddrFrom4(h.DestinationAddress().As4())
		if from != p.e.Endpoint.IPv4.Addr() || forbidden(to) {
			return
		}
		if h.TransportProtocol() == header.ICMPv4ProtocolNumber && !p.w.own(to) {
			p.echo4(packet, to)
			return
		}
		p.pass(f, to, ipv4.ProtocolNumber)
	case unix.ETH_P_IPV6:
		h := header.IPv6(packet)
		if !h.IsValid(len(packet)) {
			return
		}
		from, to := netip.AddrFrom16(h.SourceAddress().As16()), netip.AddrFrom16(h.DestinationAddress().As16())
		if !from.IsUnspecified() && from != p.e.Endpoint.IPv6.Addr() && from != linkLocal(p.mac) {
			return
		}
		if h.TransportProtocol() == header.ICMPv6ProtocolNumber {
			if p.neighbor(packet) {
				return
			}
			if !p.w.own(to) {
				p.echo6(packet, to)
				return
			}
		}
		if forbidden(to) && p.w.port(to) == nil || from != p.e.Endpoint.IPv6.Addr() {
			return
		}
		p.pass(f, to, ipv6.ProtocolNumber)
	}
}

// pass sends a frame on: to a neighbour, or to the stack, which is all others.
func (p *port) pass(f *frame, to netip.Addr, number tcpip.NetworkProtocolNumber) {
	if p.w.own(to) && !p.w.gateway(to) || to.IsLinkLocalUnicast() && to.Is6() {
		if other := p.w.port(to); other != nil && (other == p || !p.w.n.Isolated) {
			copy(f.head[vnetHeader:], other.mac[:])
			other.write(f.head[:], f.packet())
		}
		return
	}
	p.w.inject(number, f.take())
}

// write sends a frame to the container. A full queue loses it, as a cable does.
func (p *port) write(frame ...[]byte) {
	p.tapMu.RLock()
	defer p.tapMu.RUnlock()
	if p.tap == nil {
		return
	}
	_, _ = unix.Writev(p.fd, frame)
}

// send sends a packet of the stack to the container. Its checksum is left to whoever needs one: the kernel is told where it is.
func (p *port) send(pkt *stack.PacketBuffer) {
	var head [headers]byte
	kind := uint16(unix.ETH_P_IP)
	if pkt.NetworkProtocolNumber == ipv6.ProtocolNumber {
		kind = unix.ETH_P_IPV6
	}
	copy(head[vnetHeader:], p.mac[:])
	copy(head[vnetHeader+6:], p.w.mac)
	binary.BigEndian.PutUint16(head[vnetHeader+12:], kind)
	network, transport := pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	offset := 0
	switch {
	case pkt.TransportProtocolNumber == header.TCPProtocolNumber && len(transport) >= header.TCPMinimumSize:
		offset = header.TCPChecksumOffset
	case pkt.TransportProtocolNumber == header.UDPProtocolNumber && len(transport) >= header.UDPMinimumSize:
		offset = 6
	}
	if offset > 0 {
		var from, to tcpip.Address
		if kind == unix.ETH_P_IP {
			from, to = header.IPv4(network).SourceAddress(), header.IPv4(network).DestinationAddress()
		} else {
			from, to = header.IPv6(network).SourceAddress(), header.IPv6(network).DestinationAddress()
		}
		size := uint16(pkt.Size() - len(network))
		sum := header.PseudoHeaderChecksum(pkt.TransportProtocolNumber, from, to, size)
		checksum.Put(transport[offset:], sum)
		head[0] = needsCsum
		binary.NativeEndian.PutUint16(head[6:], uint16(ethHeader+len(network)))
		binary.NativeEndian.PutUint16(head[8:], uint16(offset))
	}
	if g := pkt.GSOOptions; g.Type != stack.GSONone && pkt.Data().Size() > int(g.MSS) {
		head[1] = gsoTCP4
		if kind == unix.ETH_P_IPV6 {
			head[1] = gsoTCP6
		}
		binary.NativeEndian.PutUint16(head[2:], uint16(ethHeader+len(network)+len(transport)))
		binary.NativeEndian.PutUint16(head[4:], g.MSS)
	}
	parts := append(make([][]byte, 0, 8), head[:])
	p.write(append(parts, pkt.AsSlices()...)...)
}

// forbidden addresses are nobody's to call: those of the host's loopback above all.
func forbidden(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] == 0 || b[0] >= 224 || a.IsLoopback()
	}
	return a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Is4In6() ||
		netip.PrefixFrom(netip.IPv6Unspecified(), 96).Contains(a)
}

// linkLocal is the address that the kernel makes of a hardware address.
func linkLocal(mac [6]byte) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5],
	})
}
