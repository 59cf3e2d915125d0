package network

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestSit: on an interface of the host a container is a machine of its own beside the host, and leaves nothing there.
func TestSit(t *testing.T) {
	for driver, mode := range map[Driver]string{Macvlan: "bridge", Ipvlan: "l2"} {
		t.Run(string(driver), func(t *testing.T) {
			host, router, client := world(t)
			s := newStore(t, host)
			_, err := s.Create(t.Context(), "lan", &CreateOptions{Driver: driver, Interface: "lan", Mode: mode, Subnets: []Subnet{{
				Prefix: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.1"),
				Range: netip.MustParsePrefix("10.1.0.64/26"),
			}}})
			require.NoError(t, err)
			var machines []*machine
			var first *Sandbox
			for i, id := range []string{"one", "two"} {
				b, m := newSandbox(t, s, id)
				e, err := b.Attach(t.Context(), "lan", &EndpointOptions{Names: []string{id}})
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip("needs the kernel's " + string(driver))
				}
				require.NoError(t, err)
				require.Equal(t, []string{"10.1.0.64/24", "10.1.0.65/24"}[i], e.IPv4.String())
				m.serve(80)
				if i == 0 {
					first = b
				}
				machines = append(machines, m)
			}
			client.serve(80)
			router.sees("tcp", "10.1.0.64:80", "10.1.0.1")
			client.sees("tcp", "10.1.0.65:80", "10.2.0.2")
			machines[0].sees("tcp", "10.2.0.2:80", "10.1.0.64")
			machines[1].sees("udp", "10.1.0.64:80", "10.1.0.65")
			c, err := first.Dial(t.Context(), "tcp", "two:80")
			require.NoError(t, err)
			require.NoError(t, c.Close())
			require.Equal(t, []string{"lan", "lo"}, linksOf(host))
		})
	}
}

// TestSCTP: a published port of SCTP is reached from the world, and is nobody else's.
func TestSCTP(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	b, m := newSandbox(t, s, "box")
	ports, err := ParsePorts("9000-9001:90-91/sctp")
	require.NoError(t, err)
	_, err = b.Attach(t.Context(), "net", &EndpointOptions{Ports: ports})
	if errors.Is(err, errors.ErrUnsupported) {
		require.NoError(t, s.Check(t.Context()))
		t.Skip("needs the kernel's sctp")
	}
	require.NoError(t, err)
	_, err = s.Reserve(ports)
	require.ErrorIs(t, err, ErrPortInUse)
	_, err = s.Reserve([]Port{{Host: 8999, Container: 1, Protocol: "sctp"}, {Host: 9001, Container: 2, Protocol: "sctp"}})
	require.ErrorIs(t, err, ErrPortInUse)
	socket := func() (int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		return fd, os.NewSyscallError("socket", err)
	}
	for i := range ports {
		var l int
		m.in(func() (err error) {
			if l, err = socket(); err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Close(l) })
			return errors.Join(unix.Bind(l, &unix.SockaddrInet4{Port: 90 + i}), unix.Listen(l, 5))
		})
		client.in(func() error {
			c, err := socket()
			if err != nil {
				return err
			}
			defer unix.Close(c)
			if err := unix.Connect(c, &unix.SockaddrInet4{Port: 9000 + i, Addr: [4]byte{10, 1, 0, 2}}); err != nil {
				return os.NewSyscallError("connect", err)
			}
			fd, from, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if err != nil {
				return os.NewSyscallError("accept", err)
			}
			defer unix.Close(fd)
			require.Equal(t, [4]byte{10, 2, 0, 2}, from.(*unix.SockaddrInet4).Addr)
			return nil
		})
	}
}

// TestSitUndone: when an interface that sits on one of the host's cannot be configured it is not left in the sandbox, nor is anything else,
// and when what was in the way has gone the sandbox is attached.
func TestSitUndone(t *testing.T) {
	for _, driver := range []Driver{Macvlan, Ipvlan} {
		t.Run(string(driver), func(t *testing.T) {
			host, _ := neighbours(t)
			s := newStore(t, host)
			_, err := s.Create(t.Context(), "lan", &CreateOptions{Driver: driver, Interface: "lan", Subnets: prefixes("10.6.0.0/24")})
			require.NoError(t, err)
			b, m := newSandbox(t, s, "box")
			taken := func(change func(*netlink.Route) error) { // all default routes that a network's may be
				m.in(func() error {
					lo, err := netlink.LinkByName("lo")
					require.NoError(t, err)
					for i := range perPriority + 1 {
						require.NoError(t, change(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")),
							Scope: netlink.SCOPE_LINK, Priority: maxPriority*perPriority + i}))
					}
					return nil
				})
			}
			taken(netlink.RouteAdd)
			_, err = b.Attach(t.Context(), "lan", nil)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip("needs the kernel's " + string(driver))
			}
			require.ErrorIs(t, err, unix.EEXIST)
			require.ErrorContains(t, err, "attach box to network lan: interface eth0 of the sandbox: default route by 10.6.0.1: ")
			require.Equal(t, []string{"lo"}, linksOf(m))
			require.Equal(t, []string{"lan", "lo"}, linksOf(host))
			all, err := s.Endpoints("lan")
			require.NoError(t, err)
			require.Empty(t, all)
			require.NoError(t, s.Check(t.Context()))
			taken(netlink.RouteDel)
			require.Equal(t, "eth0", attach(t, b, "lan", nil).Interface)
			require.Equal(t, []string{"eth0", "lo"}, linksOf(m))
			require.NoError(t, b.Close())
			require.Equal(t, []string{"lo"}, linksOf(m))
		})
	}
}
