package usernet

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// hardware returns the hardware address that a container finds another of the network by.
func (p *port) hardware(a netip.Addr) ([]byte, bool) {
	if p.w.gateway(a) {
		return p.w.mac, true
	}
	if other := p.w.port(a); other != nil && other != p && !p.w.n.Isolated {
		return other.mac[:], true
	}
	return nil, false
}

// arp answers a request for the hardware address of an address of IPv4. No container hears of another's.
func (p *port) arp(b []byte) {
	h := header.ARP(b)
	if !h.IsValid() || h.Op() != header.ARPRequest {
		return
	}
	target := netip.AddrFrom4([4]byte(h.ProtocolAddressTarget()))
	mac, ok := p.hardware(target)
	if !ok {
		return
	}
	frame := p.frame(unix.ETH_P_ARP, header.ARPSize)
	answer := header.ARP(frame[headers:])
	answer.SetIPv4OverEthernet()
	answer.SetOp(header.ARPReply)
	copy(answer.HardwareAddressSender(), mac)
	copy(answer.ProtocolAddressSender(), h.ProtocolAddressTarget())
	copy(answer.HardwareAddressTarget(), p.mac[:])
	copy(answer.ProtocolAddressTarget(), h.ProtocolAddressSender())
	p.write(frame)
}

// frame makes an empty frame to the container.
func (p *port) frame(kind uint16, size int) []byte {
	b := make([]byte, headers+size)
	copy(b[vnetHeader:], p.mac[:])
	copy(b[vnetHeader+6:], p.w.mac)
	binary.BigEndian.PutUint16(b[vnetHeader+12:], kind)
	return b
}

// neighbor answers what asks for neighbours by IPv6. It returns false for what is none of the messages of that.
func (p *port) neighbor(packet []byte) bool {
	ip := header.IPv6(packet)
	b := header.ICMPv6(ip.Payload())
	if len(b) < header.ICMPv6MinimumSize {
		return true
	}
	switch b.Type() {
	case header.ICMPv6NeighborSolicit:
	case header.ICMPv6RouterSolicit, header.ICMPv6RouterAdvert, header.ICMPv6NeighborAdvert, header.ICMPv6RedirectMsg:
		return true
	default:
		return false
	}
	if len(b) < header.ICMPv6NeighborSolicitMinimumSize || ip.SourceAddress().Unspecified() {
		return true // looking for duplicates: who has which address is known
	}
	target := netip.AddrFrom16([16]byte(b[8:24]))
	mac, ok := p.hardware(target)
	if !ok {
		return true
	}
	const size = header.ICMPv6NeighborAdvertMinimumSize + 8
	frame := p.frame(unix.ETH_P_IPV6, header.IPv6MinimumSize+size)
	from, to := tcpip.AddrFrom16(target.As16()), ip.SourceAddress()
	header.IPv6(frame[headers:]).Encode(&header.IPv6Fields{
		PayloadLength: size, TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: header.NDPHopLimit, SrcAddr: from, DstAddr: to,
	})
	a := header.ICMPv6(frame[headers+header.IPv6MinimumSize:])
	a.SetType(header.ICMPv6NeighborAdvert)
	a[4] = 0x60 // solicited, override
	copy(a[8:], b[8:24])
	a[24], a[25] = 2, 1 // the target's link-layer address, of eight bytes
	copy(a[26:], mac)
	a.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: a, Src: from, Dst: to}))
	p.write(frame)
	return true
}
