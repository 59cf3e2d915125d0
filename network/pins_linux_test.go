package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A sent is a frame that an endpoint sends, behind the addresses, and whether others get it.
type sent struct {
	name   string
	from   net.HardwareAddr
	packet []byte // with its type, or tag, before it
	passes bool
}

// everyFrame has frames of every kind that an endpoint may send or not.
func everyFrame(e, other *Endpoint) []sent {
	mac, a4, a6 := e.mac(), e.IPv4.Addr(), e.IPv6.Addr()
	typed := func(kind uint16, packet ...[]byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, kind), slices.Concat(packet...)...)
	}
	ip4 := func(from netip.Addr) []byte {
		return datagram(mac, mac, from, other.IPv4.Addr(), 99, "text")[14:]
	}
	ip6 := func(from netip.Addr, next byte, carried ...[]byte) []byte {
		b := slices.Concat(carried...)
		head := []byte{0x60, 0, 0, 0, 0, byte(len(b)), next, 255}
		return slices.Concat(head, from.AsSlice(), netip.MustParseAddr("ff02::1").AsSlice(), b)
	}
	text := make([]byte, 24)
	icmp := func(kind byte, target netip.Addr) []byte {
		return slices.Concat([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice())
	}
	extension := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	fragment := func(next byte) []byte { return []byte{next, 0, 0, 1, 0, 0, 0, 7} }
	arp := func(hw net.HardwareAddr, a netip.Addr) []byte { return claim(mac, hw, a, other.IPv4.Addr())[14:] }
	tag, none4, none6 := []byte{0x20, 0}, netip.IPv4Unspecified(), netip.IPv6Unspecified()
	const tcp, udp, icmp6, hop, options, frag = unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6, 0, 60, 44
	return []sent{
		{"IPv4", mac, typed(unix.ETH_P_IP, ip4(a4)), true},
		{"IPv4, another's address", mac, typed(unix.ETH_P_IP, ip4(other.IPv4.Addr())), false},
		{"IPv4, no address", mac, typed(unix.ETH_P_IP, ip4(none4)), false},
		{"IPv4, another's hardware address", other.mac(), typed(unix.ETH_P_IP, ip4(a4)), false},
		{"IPv4, all another's", other.mac(), typed(unix.ETH_P_IP, ip4(other.IPv4.Addr())), false},
		{"IPv4, cut", mac, typed(unix.ETH_P_IP, ip4(a4)[:15]), false},
		{"IPv4, tagged", mac, typed(unix.ETH_P_8021Q, tag, typed(unix.ETH_P_IP, ip4(a4))), true},
		{"IPv4, tagged, another's address", mac, typed(unix.ETH_P_8021Q, tag, typed(unix.ETH_P_IP, ip4(other.IPv4.Addr()))), false},
		{"IPv4, two tags", mac, typed(unix.ETH_P_8021Q, tag, typed(unix.ETH_P_8021Q, tag, typed(unix.ETH_P_IP, ip4(a4)))), false},
		{"IPv4, 802.2", mac, typed(44, []byte{0xaa, 0xaa, 3, 0, 0, 0}, typed(unix.ETH_P_IP, ip4(a4))), false},
		{"IPv4 as IPv6", mac, typed(unix.ETH_P_IPV6, ip4(a4), text), false},
		{"TCP over IPv6", mac, typed(unix.ETH_P_IPV6, ip6(a6, tcp, text)), true},
		{"UDP over IPv6", mac, typed(unix.ETH_P_IPV6, ip6(a6, udp, text)), true},
		{"UDP over IPv6, link-local", mac, typed(unix.ETH_P_IPV6, ip6(linkLocal(mac), udp, text)), true},
		{"UDP over IPv6, another's address", mac, typed(unix.ETH_P_IPV6, ip6(other.IPv6.Addr(), udp, text)), false},
		{"UDP over IPv6, no address", mac, typed(unix.ETH_P_IPV6, ip6(none6, udp, text)), false},
		{"UDP over IPv6, another's hardware address", other.mac(), typed(unix.ETH_P_IPV6, ip6(a6, udp, text)), false},
		{"UDP over IPv6 with options", mac, typed(unix.ETH_P_IPV6, ip6(a6, hop, extension(udp), text)), true},
		{"UDP over IPv6, a fragment", mac, typed(unix.ETH_P_IPV6, ip6(a6, frag, fragment(udp), text)), true},
		{"IPv6, cut", mac, typed(unix.ETH_P_IPV6, ip6(a6, tcp)[:20]), false},
		{"solicitation", mac, typed(unix.ETH_P_IPV6, ip6(a6, icmp6, icmp(typeNS, other.IPv6.Addr()))), true},
		{"looking for duplicates", mac, typed(unix.ETH_P_IPV6, ip6(none6, icmp6, icmp(typeNS, a6))), true},
		{"advertisement", mac, typed(unix.ETH_P_IPV6, ip6(a6, icmp6, icmp(typeNA, a6))), true},
		{"advertisement of another's", mac, typed(unix.ETH_P_IPV6, ip6(a6, icmp6, icmp(typeNA, other.IPv6.Addr()))), false},
		{"advertisement of another's with options", mac, typed(unix.ETH_P_IPV6, ip6(a6, hop, extension(icmp6), icmp(typeNA, other.IPv6.Addr()))), false},
		{"router", mac, typed(unix.ETH_P_IPV6, ip6(linkLocal(mac), icmp6, icmp(typeRA, a6))), false},
		{"router, tagged", mac, typed(unix.ETH_P_8021Q, []byte{0, 0}, typed(unix.ETH_P_IPV6, ip6(linkLocal(mac), icmp6, icmp(typeRA, a6)))), false},
		{"router with options", mac, typed(unix.ETH_P_IPV6, ip6(linkLocal(mac), hop, extension(icmp6), icmp(typeRA, a6))), false},
		{"router with more options", mac, typed(unix.ETH_P_IPV6, ip6(a6, hop, extension(options), extension(icmp6), icmp(typeRA, a6))), false},
		{"router, a fragment", mac, typed(unix.ETH_P_IPV6, ip6(a6, frag, fragment(icmp6), icmp(typeRA, a6))), false},
		{"redirect", mac, typed(unix.ETH_P_IPV6, ip6(a6, icmp6, icmp(typeRedirect, a6))), false},
		{"ARP", mac, typed(unix.ETH_P_ARP, arp(mac, a4)), true},
		{"ARP, looking for duplicates", mac, typed(unix.ETH_P_ARP, arp(mac, none4)), true},
		{"ARP of another's address", mac, typed(unix.ETH_P_ARP, arp(mac, other.IPv4.Addr())), false},
		{"ARP of another's hardware address", mac, typed(unix.ETH_P_ARP, arp(other.mac(), a4)), false},
		{"ARP from another's hardware address", other.mac(), typed(unix.ETH_P_ARP, arp(mac, a4)), false},
		{"another protocol", mac, typed(0x88b5, text), false},
	}
}

// exchange has a machine send the frames, and returns the names of those that another gets, each to a group's address of its own. The socket
// gives them a priority.
func (m *machine) exchange(to *machine, frames []sent, priority int) (got []string) {
	m.t.Helper()
	socket := func(protocol uint16) (fd int) {
		i, err := net.InterfaceByName("eth0")
		require.NoError(m.t, err)
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		require.NoError(m.t, err)
		at := binary.NativeEndian.Uint16(port16(protocol))
		require.NoError(m.t, unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index, Protocol: at}))
		return fd
	}
	ear := -1
	to.in(func() error { ear = socket(unix.ETH_P_ALL); return nil })
	defer unix.Close(ear)
	require.NoError(m.t, unix.SetsockoptTimeval(ear, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(enough / time.Second)}))
	m.in(func() error {
		runtime.LockOSThread() // what one processor sends arrives in its order; the thread ends here
		var cpu unix.CPUSet
		if err := unix.SchedGetaffinity(0, &cpu); err != nil {
			return err
		}
		for first, i := true, 0; i < 1024; i++ {
			if cpu.IsSet(i) && !first {
				cpu.Clear(i)
			}
			first = first && !cpu.IsSet(i)
		}
		if err := unix.SchedSetaffinity(0, &cpu); err != nil {
			return err
		}
		fd := socket(0)
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priority); err != nil {
			return err
		}
		for i, f := range append(frames, frames[0]) {
			b := slices.Concat([]byte{3, 0xca, 0, 0, 0, byte(i)}, f.from, f.packet)
			if _, err := unix.Write(fd, b); err != nil {
				return os.NewSyscallError("write", err)
			}
		}
		return nil
	})
	b := make([]byte, 2000)
	for {
		n, err := unix.Read(ear, b)
		require.NoError(m.t, err, "the last frame")
		if n < 6 || b[0] != 3 || b[1] != 0xca {
			continue
		}
		if int(b[5]) == len(frames) {
			return got
		}
		got = append(got, frames[b[5]].name)
	}
}

// pinned are three sandboxes on a network: one that frames are sent to, one whose frames a program looks at first, if the kernel takes one, and one
// whose frames none looks at.
func pinned(t *testing.T) (s *Store, h *host, victim, fast, slow *machine, to, f, e Endpoint) {
	t.Helper()
	on := newMachine(t)
	filterBridged(t, on, "0")
	s = newStore(t, on)
	_, err := s.Create(t.Context(), "six", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	h, err = s.openHost()
	require.NoError(t, err)
	box := func(id string) (*machine, Endpoint) {
		b, m := newSandbox(t, s, id)
		return m, attach(t, b, "six", nil)
	}
	victim, to = box("victim")
	fast, f = box("fast")
	refused := h.slowly
	h.slowly = true
	slow, e = box("slow")
	h.slowly = refused
	return s, h, victim, fast, slow, to, f, e
}

// TestPins: of all that an endpoint may send or not the same arrives, whether a program looks at it first or not, and whatever priority it was sent
// with.
func TestPins(t *testing.T) {
	_, _, victim, fast, slow, to, f, e := pinned(t)
	for _, side := range []struct {
		m *machine
		e *Endpoint
	}{{fast, &f}, {slow, &e}} {
		frames := everyFrame(side.e, &to)
		var want []string
		for _, f := range frames {
			if f.passes {
				want = append(want, f.name)
			}
		}
		for _, priority := range []int{0, pinnedPriority - 1<<32} {
			require.Equal(t, want, side.m.exchange(victim, frames, priority), "%s, priority %#x", side.e.Sandbox, uint32(priority))
		}
	}
}

// TestPinProgram: the program lets pass what it should without the sets, and nothing else.
func TestPinProgram(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 6, 6)
	s, h, victim, fast, _, to, f, _ := pinned(t)
	require.False(t, h.slowly)
	require.NoError(t, inside(h.ns, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for _, name := range []string{"macs", "addrs4", "addrs6"} {
			conn.FlushSet(h.rules.set(name))
		}
		return conn.Flush()
	}))
	require.Equal(t, []string{"IPv4", "IPv4, tagged", "TCP over IPv6", "UDP over IPv6"}, fast.exchange(victim, everyFrame(&f, &to), 0))
	require.NoError(t, s.Repair(t.Context()))
}

// TestPinProgramRefused: where the kernel refuses one no other is tried, and all else is as it is with one.
func TestPinProgramRefused(t *testing.T) {
	s, h, victim, _, _, to, f, _ := pinned(t)
	h.slowly = false
	h.pin(1<<30, &f)
	require.True(t, h.slowly, "there is no such interface")
	b, m := newSandbox(t, s, "other")
	e := attach(t, b, "six", nil)
	require.Equal(t, []string{"IPv4"}, m.exchange(victim, everyFrame(&e, &to)[:2], 0))
	require.NoError(t, s.Check(t.Context()))
}
