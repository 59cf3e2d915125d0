package usernet

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	maxEchoes   = 64 // of one container at a time
	echoTimeout = 5 * time.Second
)

// echo4 asks for an echo from the host, and gives it to the container. Other messages of ICMP do not leave it.
func (p *port) echo4(packet []byte, to netip.Addr) {
	h := header.IPv4(packet)
	m := header.ICMPv4(h.Payload())
	if len(m) < header.ICMPv4MinimumSize || m.Type() != header.ICMPv4Echo || h.More() || h.FragmentOffset() > 0 {
		return
	}
	id, seq, from, dst := m.Ident(), m.Sequence(), h.DestinationAddress(), h.SourceAddress() // the packet is another's soon
	p.echo("udp4", to, &icmp.Message{
		Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(id), Seq: int(seq), Data: append([]byte(nil), m[header.ICMPv4MinimumSize:]...)},
	}, func(data []byte) {
		frame := p.frame(unix.ETH_P_IP, header.IPv4MinimumSize+header.ICMPv4MinimumSize+len(data))
		ip := header.IPv4(frame[headers:])
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(frame) - headers), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber),
			SrcAddr: from, DstAddr: dst,
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		a := header.ICMPv4(ip.Payload())
		a.SetType(header.ICMPv4EchoReply)
		a.SetIdent(id)
		a.SetSequence(seq)
		copy(a[header.ICMPv4MinimumSize:], data)
		a.SetChecksum(header.ICMPv4Checksum(a, 0))
		p.write(frame)
	})
}

// echo6 is echo4 by IPv6.
func (p *port) echo6(packet []byte, to netip.Addr) {
	h := header.IPv6(packet)
	m := header.ICMPv6(h.Payload())
	if len(m) < header.ICMPv6EchoMinimumSize || m.Type() != header.ICMPv6EchoRequest || forbidden(to) {
		return
	}
	id, seq, from, dst := m.Ident(), m.Sequence(), h.DestinationAddress(), h.SourceAddress()
	p.echo("udp6", to, &icmp.Message{
		Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: int(id), Seq: int(seq), Data: append([]byte(nil), m[header.ICMPv6EchoMinimumSize:]...)},
	}, func(data []byte) {
		size := header.ICMPv6EchoMinimumSize + len(data)
		frame := p.frame(unix.ETH_P_IPV6, header.IPv6MinimumSize+size)
		ip := header.IPv6(frame[headers:])
		ip.Encode(&header.IPv6Fields{
			PayloadLength: uint16(size), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: 64, SrcAddr: from, DstAddr: dst,
		})
		a := header.ICMPv6(ip.Payload())
		a.SetType(header.ICMPv6EchoReply)
		a.SetIdent(id)
		a.SetSequence(seq)
		copy(a[header.ICMPv6EchoMinimumSize:], data)
		a.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: a, Src: from, Dst: dst}))
		p.write(frame)
	})
}

// rawEcho are the kinds of raw sockets in place of those of ping.
var rawEcho = map[string]string{"udp4": "ip4:icmp", "udp6": "ip6:ipv6-icmp"}

// echo sends the message and calls answered with what came back, if something does.
func (p *port) echo(network string, to netip.Addr, m *icmp.Message, answered func(data []byte)) {
	number, protocol := uint8(header.ICMPv4ProtocolNumber), 1
	if to.Is6() {
		number, protocol = uint8(header.ICMPv6ProtocolNumber), 58
	}
	if !p.mayReach(number, netip.AddrPortFrom(to, 0)) {
		return
	}
	select {
	case p.echoes <- struct{}{}:
	default:
		return
	}
	seq := m.Body.(*icmp.Echo).Seq
	p.group.Go(func() {
		defer func() { <-p.echoes }()
		var at net.Addr = &net.UDPAddr{IP: to.AsSlice()}
		c, err := icmp.ListenPacket(network, "")
		if err != nil { // the user may not, unless it is root
			at = &net.IPAddr{IP: to.AsSlice()}
			c, err = icmp.ListenPacket(rawEcho[network], "")
		}
		if err != nil {
			return
		}
		defer c.Close()
		body := m.Body.(*icmp.Echo)
		body.ID = int(rand.N[uint16](1 << 15)) // of a raw socket; the kernel has one for the other
		b, err := m.Marshal(nil)
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(echoTimeout))
		stop := afterDone(p.ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if _, err := c.WriteTo(b, at); err != nil {
			return
		}
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			answer, err := icmp.ParseMessage(protocol, buf[:n])
			if err != nil {
				continue
			}
			e, ok := answer.Body.(*icmp.Echo)
			if _, raw := at.(*net.IPAddr); raw && (!ok || e.ID != body.ID || from.String() != at.String()) {
				continue
			}
			if ok && e.Seq == seq && (answer.Type == ipv4.ICMPTypeEchoReply || answer.Type == ipv6.ICMPTypeEchoReply) {
				answered(e.Data)
				return
			}
		}
	})
}
