package network

import (
	"errors"
	"net/netip"
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
