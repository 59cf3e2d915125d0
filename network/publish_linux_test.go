package network

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPublish: a port is reached from the world, from the host, from neighbours and from itself, on the addresses that it is
// published on and on no others, and the client's address is kept.
func TestPublish(t *testing.T) {
	for _, filtered := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+filtered, func(t *testing.T) { testPublish(t, filtered) })
	}
}

func testPublish(t *testing.T, filtered string) {
	host, router, client := world(t)
	hairpin := "172.17.0.1"
	filterBridged(t, host, filtered)
	if filtered == "1" {
		hairpin = "172.17.0.3" // answers come back by the host too
	}
	s := newStore(t, host)
	for _, name := range []string{"front", "back"} {
		_, err := s.Create(t.Context(), name, &CreateOptions{IPv6: true})
		require.NoError(t, err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	lan := netip.MustParseAddr("10.1.0.2")
	b, m := newSandbox(t, s, "server")
	m.serve(80)
	m.serve(81)
	e := attach(t, b, "front", &EndpointOptions{Ports: []Port{
		{Host: 8080, Container: 80}, {Host: 8080, Container: 80, Protocol: "udp"}, {Container: 81},
		{Host: 8081, Container: 80, Address: local}, {Host: 8081, Container: 80, Address: local, Protocol: "udp"},
		{Host: 8082, Container: 81, Address: lan},
		{Host: 8083, Container: 80, Address: netip.IPv6Unspecified()},
	}})
	any := e.Ports[2].Host
	require.NotZero(t, any)
	b2, m2 := newSandbox(t, s, "neighbour")
	attach(t, b2, "front", nil)
	b3, m3 := newSandbox(t, s, "stranger")
	attach(t, b3, "back", nil)

	for _, network := range []string{"tcp", "udp"} {
		client.sees(network, "10.1.0.2:8080", "10.2.0.2")
		client.sees(network, "[fd01::2]:8080", "fd02::2")
		host.sees(network, "127.0.0.1:8080", "172.17.0.1")
		host.sees(network, "127.0.0.9:8080", "172.17.0.1")
		host.sees(network, "[::1]:8080", gateway(t, s, "front").String())
		host.sees(network, "10.1.0.2:8080", "10.1.0.2")
		m2.sees(network, "10.1.0.2:8080", hairpin)
		m2.sees(network, "172.17.0.1:8080", hairpin)
		m.sees(network, "10.1.0.2:8080", "172.17.0.1")
		m3.sees(network, "10.1.0.2:8080", "172.18.0.2")
		host.sees(network, "127.0.0.1:8081", "172.17.0.1")
		client.cannot(network, "10.1.0.2:8081")
		m2.cannot(network, "10.1.0.2:8081")
		m3.cannot(network, "172.17.0.2:80") // but not beside the published port
	}
	client.sees("tcp", "10.1.0.2:"+strconv.Itoa(int(any)), "10.2.0.2")
	client.sees("tcp", "10.1.0.2:8082", "10.2.0.2")
	client.cannot("tcp", "[fd01::2]:8082")
	client.sees("tcp", "[fd01::2]:8083", "fd02::2")
	client.cannot("tcp", "10.1.0.2:8083")
	m2.cannot("tcp", "172.17.0.1:8082")
	// A neighbour of the host who routes 127.0.0.1 to it gets nowhere, nor to the container's own address.
	router.in(func() error { return writeSysctl("ipv4/conf/all/route_localnet", "1") })
	router.command("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	router.command("ip", "route", "add", "127.0.0.1/32", "via", "10.1.0.2")
	router.cannot("tcp", "127.0.0.1:8081")
	router.cannot("tcp", "127.0.0.1:8080")
	router.route("172.17.0.0/16", "10.1.0.2")
	router.cannot("tcp", "172.17.0.2:80")

	// What is bound is nobody else's, and is free again afterwards.
	_, err := b2.Attach(t.Context(), "back", &EndpointOptions{Ports: []Port{{Host: 8080, Container: 1}}})
	require.ErrorIs(t, err, ErrPortInUse)
	require.ErrorContains(t, err, "publish 0.0.0.0:8080->1/tcp: port is already allocated")
	_, err = s.Reserve([]Port{{Host: 9000, Container: 1}, {Host: 8081, Container: 1, Address: local, Protocol: "udp"}})
	require.ErrorIs(t, err, ErrPortInUse)
	_, err = s.Reserve([]Port{{Host: 9000, Container: 1, Address: netip.MustParseAddr("10.9.9.9")}})
	require.ErrorContains(t, err, "cannot assign requested address")
	r, err := s.Reserve([]Port{{Host: 8080, HostEnd: 8090, Container: 1}})
	require.NoError(t, err)
	require.EqualValues(t, 8084, r.list()[0].Host, "the first that is free on every address")
	r.Close()
	require.NoError(t, b.Detach(t.Context(), "front"))
	client.cannot("tcp", "10.1.0.2:8080")
	host.in(func() error {
		l, err := net.Listen("tcp", ":8080")
		if err == nil {
			err = l.Close()
		}
		return err
	})
}

// TestPublishRange: each port of a range leads to its own of the container, by tcp and udp, and one that is taken is an error that names it,
// with none of the others bound and nothing attached.
func TestPublishRange(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	ranges := func(specs ...string) (all []Port) {
		for _, spec := range specs {
			ports, err := ParsePorts(spec)
			require.NoError(t, err)
			all = append(all, ports...)
		}
		return all
	}
	b, m := newSandbox(t, s, "box")
	attach(t, b, "net", &EndpointOptions{Ports: ranges("8100-8102:80-82", "8100-8102:80-82/udp", "10.1.0.2:8200-8201:81-82")})
	for i, at := range []string{"10.1.0.2:8100", "10.1.0.2:8101", "10.1.0.2:8102"} {
		client.cannot("tcp", at)
		host.cannot("tcp", fmt.Sprint("127.0.0.1:", 8100+i))
		m.serve(80 + i)
		for _, network := range []string{"tcp", "udp"} {
			client.sees(network, at, "10.2.0.2")
			client.sees(network, fmt.Sprint("[fd01::2]:", 8100+i), "fd02::2")
			host.sees(network, fmt.Sprint("127.0.0.1:", 8100+i), "172.17.0.1")
		}
	}
	client.sees("tcp", "10.1.0.2:8200", "10.2.0.2")
	client.sees("tcp", "10.1.0.2:8201", "10.2.0.2")
	client.cannot("tcp", "10.1.0.2:8103")

	other, _ := newSandbox(t, s, "other")
	before := linksOf(host)
	for taken, specs := range map[string][]string{
		"0.0.0.0:8100->91/tcp":  {"8099-8101:90-92"},
		"0.0.0.0:8102->92/udp":  {"8102-8104:92-94/udp"},
		"10.1.0.2:8201->91/tcp": {"10.1.0.2:8202-8203:1-2", "10.1.0.2:8201:91"},
	} {
		_, err = other.Attach(t.Context(), "net", &EndpointOptions{Ports: ranges(specs...)})
		require.ErrorIs(t, err, ErrPortInUse, taken)
		require.ErrorContains(t, err, "publish "+taken)
	}
	require.Equal(t, before, linksOf(host))
	all, err := s.Endpoints("net")
	require.NoError(t, err)
	require.Len(t, all, 1)
	r, err := s.Reserve(ranges("8099:1", "8103-8104:1-2/udp", "10.1.0.2:8202-8203:1-2"))
	require.NoError(t, err, "the ports beside are free")
	r.Close()
	require.NoError(t, s.Check(t.Context()))
}

func gateway(t *testing.T, s *Store, name string) netip.Addr {
	n, err := s.Get(name)
	require.NoError(t, err)
	sub, ok := n.Subnet(true)
	require.True(t, ok)
	return sub.Gateway
}

func TestParsePorts(t *testing.T) {
	for spec, want := range map[string]string{
		"80":                     "0.0.0.0:0->80/tcp",
		"8080:80":                "0.0.0.0:8080->80/tcp",
		"8080:80/udp":            "0.0.0.0:8080->80/udp",
		"127.0.0.1:8080:80":      "127.0.0.1:8080->80/tcp",
		"127.0.0.1::80/SCTP":     "127.0.0.1:0->80/sctp",
		"[::1]:8080:80":          "[::1]:8080->80/tcp",
		"::1:8080:80":            "[::1]:8080->80/tcp",
		"8000-8001:80-81":        "0.0.0.0:8000->80/tcp 0.0.0.0:8001->81/tcp",
		"8000-8009:80":           "0.0.0.0:8000->80/tcp",
		"80-81":                  "0.0.0.0:0->80/tcp 0.0.0.0:0->81/tcp",
		"":                       "!the container's port is not from 1 to 65535",
		"0":                      "!the container's port is not from 1 to 65535",
		"65536":                  "!the container's port is not from 1 to 65535",
		"8080:99999":             "!the container's port is not from 1 to 65535",
		"99999:80":               "!the host's port is not from 0 to 65535",
		"80/icmp":                "!the protocol is none of tcp, udp, sctp",
		"x:8080:80":              "!the address is none",
		"1.2.3:8080:80":          "!the address is none",
		"8000-8002:80-81":        "!the ranges differ in length",
		"81-80":                  "!the container's port is not from 1 to 65535",
		"1-65535":                "!too many ports",
		"+80":                    "!the container's port is not from 1 to 65535",
		"8080:":                  "!the container's port is not from 1 to 65535",
		"[fe80::1%eth0]:8080:80": "!the address is none",
	} {
		ports, err := ParsePorts(spec)
		got := ""
		for i, p := range ports {
			if i > 0 {
				got += " "
			}
			got += p.String()
		}
		if want[0] == '!' {
			require.ErrorIs(t, err, ErrInvalid, spec)
			require.ErrorContains(t, err, want[1:], spec)
			continue
		}
		require.NoError(t, err, spec)
		require.Equal(t, want, got, spec)
	}
}
