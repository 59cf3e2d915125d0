package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// raw sends frames from an interface of the machine, as a program with CAP_NET_RAW does.
func (m *machine) raw(name string, frames ...[]byte) {
	m.t.Helper()
	m.in(func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
				return os.NewSyscallError("sendto", err)
			}
		}
		return nil
	})
}

func ether(to, from net.HardwareAddr, kind uint16, packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(append([]byte{}, to...), from...), kind), packet...)
}

func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, p := range parts {
		for i := 0; i < len(p); i += 2 {
			s += uint32(p[i]) << 8
			if i+1 < len(p) {
				s += uint32(p[i+1])
			}
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// advertisement is a router advertisement that makes its sender the default router for half an hour.
func advertisement(mac net.HardwareAddr) []byte {
	from, to := linkLocal(mac), netip.MustParseAddr("ff02::1")
	b := []byte{typeRA, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
	b = append(b, mac...)
	head := []byte{0x60, 0, 0, 0, 0, byte(len(b)), unix.IPPROTO_ICMPV6, 255}
	head = append(append(head, from.AsSlice()...), to.AsSlice()...)
	pseudo := []byte{0, 0, 0, byte(len(b)), 0, 0, 0, unix.IPPROTO_ICMPV6}
	binary.BigEndian.PutUint16(b[2:], sum(head[8:], pseudo, b))
	return ether(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6, append(head, b...))
}

// claim is an answer of ARP that nobody asked for: an address is at the sender.
func claim(to, mac net.HardwareAddr, a, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	b = append(append(append(append(b, mac...), a.AsSlice()...), to...), target.AsSlice()...)
	return ether(to, mac, unix.ETH_P_ARP, b)
}

// datagram is one of UDP, without a checksum.
func datagram(to, mac net.HardwareAddr, from, dst netip.Addr, port uint16, text string) []byte {
	u := binary.BigEndian.AppendUint16([]byte{0x10, 0}, port)
	u = append(binary.BigEndian.AppendUint16(u, uint16(8+len(text))), 0, 0)
	u = append(u, text...)
	ip := []byte{0x45, 0, 0, byte(20 + len(u)), 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, from.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], sum(ip))
	return ether(to, mac, unix.ETH_P_IP, append(ip, u...))
}

// heard collects datagrams to a port of the machine.
func (m *machine) heard(port string) <-chan string {
	m.t.Helper()
	c := make(chan string, 16)
	m.in(func() error {
		p, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			return err
		}
		m.t.Cleanup(func() { _ = p.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := p.ReadFrom(b)
				if err != nil {
					return
				}
				c <- string(b[:n]) + " from " + ipOf(from)
			}
		}()
		return nil
	})
	return c
}

// bridgeKnows returns the port at which a bridge of the machine believes a hardware address to be.
func bridgeKnows(m *machine, bridge string, mac net.HardwareAddr) string {
	for line := range strings.Lines(m.command("bridge", "fdb", "show", "br", bridge)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == mac.String() && !slices.Contains(f, "vlan") {
			return f[2]
		}
	}
	return ""
}

// TestAttacks: what a container with CAP_NET_RAW and CAP_NET_ADMIN, or a neighbour of the host, does with real packets. Each attack
// of which the rules are the defence is shown to work without them.
func TestAttacks(t *testing.T) {
	testenv.RequireCommand(t, "nft", "ping", "bridge")
	host, router, client := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "six", &CreateOptions{IPv6: true, Interface: "cs-six"})
	require.NoError(t, err)
	_, err = s.Create(t.Context(), "four", &CreateOptions{Interface: "cs-four"})
	require.NoError(t, err)
	evil, me := newSandbox(t, s, "evil")
	victim, mv := newSandbox(t, s, "victim")
	e, v := attach(t, evil, "six", nil), attach(t, victim, "six", &EndpointOptions{Ports: []Port{
		{Host: 8080, Container: 80}, {Host: 8081, Container: 80, Address: netip.MustParseAddr("127.0.0.1")},
		{Host: 8082, Container: 82},
	}})
	gateway := netip.MustParseAddr("172.17.0.1")
	defenceless := func(attack func()) {
		host.command("nft", "delete", "table", "bridge", "caisson")
		attack()
		require.NoError(t, s.Repair(t.Context()))
	}

	t.Run("CVE-2020-13401", func(t *testing.T) { // a router advertisement takes over the others' IPv6
		mv.in(func() error { return writeSysctl("ipv6/conf/eth0/accept_ra", "1") })
		host.in(func() error { return writeSysctl("ipv6/conf/cs-six/accept_ra", "2") })
		routes := func(m *machine) string { return m.command("ip", "-6", "route", "show", "default", "proto", "ra") }
		me.raw("eth0", advertisement(e.mac()))
		time.Sleep(50 * time.Millisecond)
		require.Empty(t, routes(mv))
		require.Empty(t, routes(host))
		defenceless(func() {
			me.raw("eth0", advertisement(e.mac()))
			require.Eventually(t, func() bool { return routes(mv) != "" && routes(host) != "" }, time.Minute, 10*time.Millisecond)
		})
		host.command("ip", "-6", "route", "flush", "proto", "ra")
		mv.command("ip", "-6", "route", "flush", "proto", "ra")
	})
	t.Run("ARP", func(t *testing.T) { // the gateway is said to be at the attacker's
		mv.command("ping", "-c", "1", "-W", "2", gateway.String())
		at := func() string { return mv.command("ip", "neigh", "show", gateway.String()) }
		right := macOf(gateway).String()
		require.Contains(t, at(), right)
		me.raw("eth0", claim(v.mac(), e.mac(), gateway, v.IPv4.Addr()))
		time.Sleep(20 * time.Millisecond)
		require.Contains(t, at(), right)
		defenceless(func() {
			time.Sleep(1100 * time.Millisecond) // the kernel keeps what it has just learned for a second
			me.raw("eth0", claim(v.mac(), e.mac(), gateway, v.IPv4.Addr()))
			require.Eventually(t, func() bool { return strings.Contains(at(), e.MAC) }, time.Minute, 10*time.Millisecond)
		})
		mv.command("ip", "neigh", "flush", "dev", "eth0")
	})
	t.Run("source", func(t *testing.T) { // in another's name, to a neighbour and to the world
		near, far := mv.heard("99"), client.heard("99")
		other, wan := netip.MustParseAddr("172.17.0.99"), netip.MustParseAddr("10.2.0.2")
		own := e.IPv4.Addr()
		frames := func() [][]byte {
			return [][]byte{
				datagram(v.mac(), e.mac(), other, v.IPv4.Addr(), 99, "spoofed"),
				datagram(macOf(gateway), e.mac(), other, wan, 99, "spoofed"),
				datagram(v.mac(), net.HardwareAddr{2, 0, 0, 0, 0, 9}, own, v.IPv4.Addr(), 99, "other mac"),
				datagram(macOf(gateway), e.mac(), own, wan, 99, "own"),
				datagram(v.mac(), e.mac(), own, v.IPv4.Addr(), 99, "own"),
			}
		}
		me.raw("eth0", frames()...)
		require.Equal(t, "own from 172.17.0.2", <-near)
		require.Equal(t, "own from 10.1.0.2", <-far)
		require.Empty(t, near)
		require.Empty(t, far)
		defenceless(func() {
			me.raw("eth0", frames()...)
			require.Equal(t, "spoofed from 172.17.0.99", <-near)
			require.Equal(t, "spoofed from 10.1.0.2", <-far)
		})
	})
	t.Run("LLDP", func(t *testing.T) { // a frame that no rule sees has the bridge believe that another is at the attacker's
		at := func() string { return bridgeKnows(host, "cs-six", v.mac()) }
		near := mv.heard("98")
		attack := func() {
			for group := range byte(16) {
				to := net.HardwareAddr{1, 0x80, 0xc2, 0, 0, group}
				me.raw("eth0", ether(to, v.mac(), 0x88cc, make([]byte, 46)))
			}
			me.raw("eth0", datagram(v.mac(), e.mac(), e.IPv4.Addr(), v.IPv4.Addr(), 98, "after"))
		}
		require.Equal(t, v.HostInterface, at())
		attack()
		require.Equal(t, "after from 172.17.0.2", <-near)
		require.Equal(t, v.HostInterface, at())
		require.NoError(t, s.Check(t.Context()))
		host.command("bridge", "link", "set", "dev", e.HostInterface, "learning", "on")
		attack()
		require.Eventually(t, func() bool { return at() == e.HostInterface }, time.Minute, 10*time.Millisecond)
		require.ErrorContains(t, s.Check(t.Context()), "the bridge learns at "+e.HostInterface)
		require.ErrorContains(t, s.Check(t.Context()), "the bridge does not know that "+v.MAC)
		require.NoError(t, s.Repair(t.Context()))
		require.Equal(t, v.HostInterface, at())
		require.NoError(t, s.Check(t.Context()))
		attack()
		require.Equal(t, "after from 172.17.0.2", <-near)
		require.Equal(t, v.HostInterface, at())
	})
	t.Run("CVE-2021-20199", func(t *testing.T) { // what comes to a published port seems to come from the container itself
		mv.serve(80)
		client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
		host.sees("tcp", "127.0.0.1:8080", "172.17.0.1")
		// So what listens on the container's loopback alone, and trusts who comes by it, is nobody's who comes from outside.
		mv.in(func() error {
			l, err := net.Listen("tcp", "127.0.0.1:82")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte("trusted\n"))
					_ = c.Close()
				}
			}()
			return nil
		})
		answer, err := mv.ask("tcp", "127.0.0.1:82", enough)
		require.NoError(t, err)
		require.Equal(t, "trusted", answer)
		client.cannot("tcp", "10.1.0.2:8082")
		host.cannot("tcp", "127.0.0.1:8082")
		host.cannot("tcp", "10.1.0.2:8082")
		me.cannot("tcp", "10.1.0.2:8082")
	})
	t.Run("CVE-2024-32473", func(t *testing.T) { // IPv6 on a network that has none
		a, ma := newSandbox(t, s, "four-a")
		b, mb := newSandbox(t, s, "four-b")
		ea, eb := attach(t, a, "four", nil), attach(t, b, "four", nil)
		require.NotContains(t, ma.command("ip", "-6", "address"), "eth0")
		require.Empty(t, host.command("ip", "-6", "address", "show", "dev", "cs-four"))
		for _, m := range []*machine{ma, mb} { // they turn it on
			m.in(func() error { return writeSysctl("ipv6/conf/eth0/disable_ipv6", "0") })
			m.command("ip", "address", "flush", "dev", "eth0", "scope", "link")
		}
		for m, e := range map[*machine]Endpoint{ma: ea, mb: eb} {
			m.command("ip", "-6", "address", "add", linkLocal(e.mac()).String()+"/64", "dev", "eth0", "nodad")
		}
		mb.serve(80)
		ma.cannot("tcp", "["+linkLocal(eb.mac()).String()+"%eth0]:80")
	})
	t.Run("CVE-2025-54388", func(t *testing.T) { // a port of loopback is reached by a neighbour of the host when others flushed the rules
		router.command("ip", "route", "add", "172.17.0.0/16", "via", "10.1.0.2")
		client.cannot("tcp", "10.1.0.2:8081")
		host.command("nft", "flush", "ruleset")
		client.cannot("tcp", "10.1.0.2:8081")
		host.sees("tcp", "127.0.0.1:8081", "172.17.0.1")
		require.NoError(t, s.Repair(t.Context()))
		client.cannot("tcp", "10.1.0.2:8081")
	})
	t.Run("CVE-2025-54410", func(t *testing.T) { // networks are not isolated any more when others flushed the rules
		c, mc := newSandbox(t, s, "other")
		attach(t, c, "four", nil)
		mc.cannot("tcp", "172.17.0.3:80")
		host.command("nft", "flush", "ruleset")
		require.ErrorContains(t, s.Check(t.Context()), "not whole")
		d, _ := newSandbox(t, s, "next") // the next change mends it
		attach(t, d, "four", nil)
		require.NoError(t, s.Check(t.Context()))
		mc.cannot("tcp", "172.17.0.3:80")
		client.cannot("tcp", "172.17.0.3:80")
	})
}
