package network

import (
	"flag"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// world is an engine's host, a router beside it, and a client behind that, who has a server at 10.2.0.2.
//
//	client 10.2.0.2 – 10.2.0.1 router 10.1.0.1 – 10.1.0.2 host
func world(t testing.TB) (host, router, client *machine) {
	host, router, client = newMachine(t), newMachine(t), newMachine(t)
	cable(router, host, "lan", "10.1.0.1/24,fd01::1/64", "10.1.0.2/24,fd01::2/64")
	cable(router, client, "wan", "10.2.0.1/24,fd02::1/64", "10.2.0.2/24,fd02::2/64")
	router.in(func() error {
		if err := writeSysctl("ipv4/ip_forward", "1"); err != nil {
			return err
		}
		return writeSysctl("ipv6/conf/all/forwarding", "1")
	})
	host.route("0.0.0.0/0", "10.1.0.1")
	host.route("::/0", "fd01::1")
	client.route("0.0.0.0/0", "10.2.0.1")
	client.route("::/0", "fd02::1")
	return host, router, client
}

// TestBridge: a container reaches its neighbours, the host, and with the host's address the world.
func TestBridge(t *testing.T) {
	host, router, client := world(t)
	s := newStore(t, host)
	n, err := s.Create(t.Context(), "backend", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	require.Equal(t, "172.17.0.0/16", n.Subnets[0].Prefix.String())
	b1, m1 := newSandbox(t, s, "one")
	b2, m2 := newSandbox(t, s, "two")
	e1 := attach(t, b1, "backend", nil)
	e2 := attach(t, b2, "backend", nil)
	require.Equal(t, "172.17.0.2/16", e1.IPv4.String())
	require.Equal(t, "172.17.0.3/16", e2.IPv4.String())
	require.Equal(t, "eth0", e1.Interface)
	m1.serve(80)
	client.serve(80)
	for _, network := range []string{"tcp", "udp"} {
		m2.sees(network, "172.17.0.2:80", "172.17.0.3")
		m2.sees(network, addrPort(e1.IPv6, 80), e2.IPv6.Addr().String())
		m2.sees(network, "10.2.0.2:80", "10.1.0.2")
		m2.sees(network, "[fd02::2]:80", "fd01::2")
	}
	host.sees("tcp", "172.17.0.2:80", "172.17.0.1")
	// Nobody gets in who knows the address and has a route.
	router.route("172.16.0.0/12", "10.1.0.2")
	router.route("fd00::/8", "fd01::2")
	client.cannot("tcp", "172.17.0.2:80")
	client.cannot("tcp", addrPort(e1.IPv6, 80))
	client.cannot("udp", "172.17.0.2:80")

	// The network is gone from the host with its last container.
	require.ErrorIs(t, s.Remove(t.Context(), "backend"), ErrInUse)
	require.NoError(t, b1.Close())
	require.NoError(t, b2.Detach(t.Context(), "backend"))
	m2.cannot("tcp", "10.2.0.2:80")
	require.NoError(t, s.Check(t.Context()))
	require.Equal(t, []string{"lan", "lo"}, linksOf(host))
	require.NoError(t, s.Remove(t.Context(), "backend"))
}

func addrPort(p netip.Prefix, port uint16) string { return netip.AddrPortFrom(p.Addr(), port).String() }

func linksOf(m *machine) (names []string) {
	m.t.Helper()
	m.in(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			names = append([]string{l.Attrs().Name}, names...)
		}
		return err
	})
	return names
}

// TestGolden compares the rules, as nft lists them, for no network and for one of each kind.
func TestGolden(t *testing.T) {
	host, _, _ := world(t)
	s := newStore(t, host)
	for name, o := range map[string]*CreateOptions{
		"plain":    {Interface: "cs-plain", IPv6: true, Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.20.0.0/16")}, {Prefix: netip.MustParsePrefix("fd20::/64")}}},
		"internal": {Interface: "cs-internal", Internal: true, Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.21.0.0/16")}}},
	} {
		_, err := s.Create(t.Context(), name, o)
		require.NoError(t, err)
	}
	b, _ := newSandbox(t, s, "one")
	e1 := attach(t, b, "plain", &EndpointOptions{Ports: []Port{
		{Host: 8080, Container: 80}, {Host: 53, Container: 5353, Protocol: "udp", Address: netip.MustParseAddr("10.1.0.2")},
		{Host: 8081, Container: 80, Address: netip.MustParseAddr("127.0.0.1")},
		{Host: 8082, Container: 80, Address: netip.MustParseAddr("fd01::2")},
	}})
	e2 := attach(t, b, "internal", nil)
	golden(t, host, "networks.nft", e1.HostInterface, "cv-one", e2.HostInterface, "cv-two")
	require.NoError(t, b.Close())
	golden(t, host, "empty.nft")
}
