package network

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestOthersRules: whatever is done to networks, and when ours are made anew, the rules of others stay as they are, to the byte.
func TestOthersRules(t *testing.T) {
	testenv.RequireCommand(t, "nft")
	host, _, client := world(t)
	host.command("nft", `
		table inet filter { set s { type ipv4_addr; elements = { 192.0.2.7 }; }
			chain forward { type filter hook forward priority 0; policy accept; ip saddr @s drop; }; }
		table ip nat { chain prerouting { type nat hook prerouting priority -100; tcp dport 9999 redirect to :99; }
			chain postrouting { type nat hook postrouting priority 100; oifname "nosuch" masquerade; }; }
		table bridge filter { chain forward { type filter hook forward priority 0; policy accept; ether type 0x88b5 drop; }; }
		table inet caisson-other { set bridges { type ifname; elements = { "br0" }; }; }`)
	s := newStore(t, host)
	others := func() string {
		text := ""
		for _, table := range []string{"inet filter", "ip nat", "bridge filter", "inet caisson-other"} {
			text += host.command("nft", "--handle", "list table "+table)
		}
		return text
	}
	before := others()
	same := func() { t.Helper(); require.Equal(t, before, others()) }
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	same()
	b, m := newSandbox(t, s, "box")
	attach(t, b, "net", &EndpointOptions{Ports: []Port{{Host: 8080, Container: 80}}, Egress: allow(t, "10.2.0.0/16")})
	m.serve(80)
	client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
	same()
	for _, table := range []string{"inet caisson", "bridge caisson"} {
		host.command("nft", "delete table "+table)
		require.Error(t, s.Check(t.Context()))
		require.NoError(t, s.Repair(t.Context()))
		require.NoError(t, s.Check(t.Context()))
		same()
	}
	client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
	require.NoError(t, b.Close())
	require.NoError(t, s.Remove(context.Background(), "net"))
	same()
}

// TestSettings: addresses, hardware addresses, gateways and MTU are those that were asked for, and what the kernel does of its own
// accord on the interface is turned off.
func TestSettings(t *testing.T) {
	host, _, _ := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "set", &CreateOptions{MTU: 1400, Interface: "cs-set", Subnets: []Subnet{
		{Prefix: netip.MustParsePrefix("10.50.0.0/24"), Gateway: netip.MustParseAddr("10.50.0.254"), Range: netip.MustParsePrefix("10.50.0.64/26")},
		{Prefix: netip.MustParsePrefix("fd50::/64"), Gateway: netip.MustParseAddr("fd50::fe")},
	}})
	require.NoError(t, err)
	_, err = s.Create(t.Context(), "first", &CreateOptions{Subnets: prefixes("10.51.0.0/24")})
	require.NoError(t, err)
	b, m := newSandbox(t, s, "box")
	attach(t, b, "first", nil)
	mac := net.HardwareAddr{2, 1, 2, 3, 4, 5}
	e := attach(t, b, "set", &EndpointOptions{
		IPv4: netip.MustParseAddr("10.50.0.9"), IPv6: netip.MustParseAddr("fd50::9"), MAC: mac, Interface: "named", GatewayPriority: 7,
	})
	other, _ := newSandbox(t, s, "other")
	require.Equal(t, "10.50.0.64/24", attach(t, other, "set", nil).IPv4.String(), "of the range")
	m.in(func() error {
		l, err := netlink.LinkByName("named")
		require.NoError(t, err)
		require.Equal(t, mac, l.Attrs().HardwareAddr)
		require.Equal(t, 1400, l.Attrs().MTU)
		var addrs []string
		all, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		for _, a := range all {
			addrs = append(addrs, a.IPNet.String())
		}
		require.ElementsMatch(t, []string{"10.50.0.9/24", "fd50::9/64", linkLocal(mac).String() + "/64"}, addrs)
		require.NoError(t, err)
		for to, gateway := range map[string]string{"192.0.2.1": "10.50.0.254", "2001:db8::1": "fd50::fe"} { // not the one attached first
			routes, err := netlink.RouteGet(net.ParseIP(to))
			require.NoError(t, err)
			require.Equal(t, gateway, routes[0].Gw.String())
		}
		return nil
	})
	host.in(func() error {
		for name, mtu := range map[string]int{"cs-set": 1400, e.HostInterface: 1400} {
			l, err := netlink.LinkByName(name)
			require.NoError(t, err)
			require.Equal(t, mtu, l.Attrs().MTU)
		}
		return nil
	})
	for _, p := range []string{"accept_ra", "autoconf", "accept_redirects", "accept_dad"} {
		require.Equal(t, "0\n", m.command("cat", "/proc/sys/net/ipv6/conf/named/"+p), p)
	}
	require.Equal(t, "1\n", m.command("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "a network without IPv6")
}
