package network

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func prefixes(texts ...string) (all []Subnet) {
	for _, text := range texts {
		all = append(all, Subnet{Prefix: netip.MustParsePrefix(text)})
	}
	return all
}

// TestCreateRefuses: what can never be is named, and nothing is left of it.
func TestCreateRefuses(t *testing.T) {
	host, _, _ := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "taken", &CreateOptions{Subnets: prefixes("172.30.0.0/16")})
	require.NoError(t, err)
	for message, o := range map[string]*CreateOptions{
		"subnet overlaps: 172.30.4.0/24 with 172.30.0.0/16 of network taken":         {Subnets: prefixes("172.30.4.0/24")},
		"subnet overlaps: 10.0.0.0/8 with 10.1.0.0/24 of a route of the host by lan": {Subnets: prefixes("10.0.0.0/8")},
		"subnet overlaps: fd01::/80 with fd01::/64 of a route of the host by lan":    {Subnets: prefixes("fd01::/80")},
		"Subnets: 10.5.0.1/24 has bits set beyond its length; 10.5.0.0/24 was meant": {Subnets: prefixes("10.5.0.1/24")},
		"Subnets: 10.5.0.0/31: the length is not from 8 to 30":                       {Subnets: prefixes("10.5.0.0/31")},
		"Subnets: 127.0.0.0/8 is no range for a network":                             {Subnets: prefixes("127.0.0.0/8")},
		"Subnets: more than one of the same family":                                  {Subnets: prefixes("10.5.0.0/24", "10.6.0.0/24")},
		"Subnets: invalid Prefix is no subnet":                                       {Subnets: []Subnet{{}}},
		"Gateway: 10.6.0.1 is no address of 10.5.0.0/24": {Subnets: []Subnet{{
			Prefix: netip.MustParsePrefix("10.5.0.0/24"), Gateway: netip.MustParseAddr("10.6.0.1"),
		}}},
		"Gateway: 10.5.0.255 is no address of 10.5.0.0/24": {Subnets: []Subnet{{
			Prefix: netip.MustParsePrefix("10.5.0.0/24"), Gateway: netip.MustParseAddr("10.5.0.255"),
		}}},
		"Range: 10.6.0.0/25 is no part of 10.5.0.0/24": {Subnets: []Subnet{{
			Prefix: netip.MustParsePrefix("10.5.0.0/24"), Range: netip.MustParsePrefix("10.6.0.0/25"),
		}}},
		"Driver: \"overlay\" is none of bridge, macvlan, ipvlan":   {Driver: "overlay"},
		"Mode: a bridge has none":                                  {Mode: "l2"},
		"Interface: macvlan needs an interface of the host":        {Driver: Macvlan},
		"Mode: \"l2\" is none of":                                  {Driver: Macvlan, Interface: "lan", Mode: "l2"},
		"Interface: \"a-name-of-16-byt\" is longer than 15 bytes":  {Interface: "a-name-of-16-byt"},
		"Interface: \"a/b\" has a character that no interface has": {Interface: "a/b"},
		"MTU: 67 is not from 68 to 65535":                          {MTU: 67},
		"MTU: 1000 is below 1280, the least of IPv6":               {MTU: 1000, IPv6: true},
		"NoIPv4: without IPv6 there is no address":                 {NoIPv4: true},
		"Labels: 70001 bytes are above the limit of 65536":         {Labels: map[string]string{"a": strings.Repeat("x", 70_000)}},
	} {
		_, err := s.Create(t.Context(), "new", o)
		require.ErrorContains(t, err, "create network new: "+message)
		_, err = s.Get("new")
		require.ErrorIs(t, err, ErrNotFound)
	}
	_, err = s.Create(t.Context(), "taken", nil)
	require.ErrorIs(t, err, fs.ErrExist)
	for _, name := range []string{"", ".lock", "-a", "a/b", "..", strings.Repeat("a", 129), "a b"} {
		_, err = s.Create(t.Context(), name, nil)
		require.ErrorIs(t, err, ErrName, name)
		require.ErrorIs(t, s.Remove(t.Context(), name), ErrName)
	}
	require.ErrorIs(t, s.Remove(t.Context(), "nosuch"), fs.ErrNotExist)
	_, err = Open(t.TempDir(), &Options{Table: "a b"})
	require.ErrorIs(t, err, ErrInvalid)
}

// TestExhausted: pools and subnets end, and what is given back can be had again.
func TestExhausted(t *testing.T) {
	host := newMachine(t)
	s, err := Open(t.TempDir(), &Options{Namespace: host.path(), Pools: []Pool{{netip.MustParsePrefix("10.8.0.0/28"), 30}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	for i := range 4 {
		n, err := s.Create(t.Context(), fmt.Sprint("n", i), nil)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("10.8.0.%d/30", 4*i), n.Subnets[0].Prefix.String())
	}
	_, err = s.Create(t.Context(), "n4", nil)
	require.ErrorIs(t, err, ErrExhausted)
	_, err = s.Create(t.Context(), "n4", &CreateOptions{NoIPv4: true, IPv6: true})
	require.ErrorIs(t, err, ErrExhausted)
	require.NoError(t, s.Remove(t.Context(), "n1"))
	n, err := s.Create(t.Context(), "n4", nil)
	require.NoError(t, err)
	require.Equal(t, "10.8.0.4/30", n.Subnets[0].Prefix.String())

	// One address besides the gateway's. A dead container's is taken back when it is needed.
	_, pid, end := startBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: "dead", NoResolver: true})
	require.NoError(t, err)
	e := attach(t, b, "n4", nil)
	require.Equal(t, "10.8.0.6/30", e.IPv4.String())
	require.Equal(t, "02:ca:0a:08:00:06", e.MAC)
	b2, _ := newSandbox(t, s, "second")
	_, err = b2.Attach(t.Context(), "n4", nil)
	require.ErrorIs(t, err, ErrExhausted)
	end()
	require.NoError(t, b.ns.Close())
	require.Eventually(t, func() bool {
		_, err = b2.Attach(t.Context(), "n4", nil)
		return err == nil
	}, patience*10, patience/50)
	all, err := s.Endpoints("n4")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "second", all[0].Sandbox)
	require.NoError(t, s.Check(t.Context()))
	removed, err := s.Prune(t.Context(), &PruneOptions{Keep: func(n Network) bool { return n.Name == "n0" }})
	require.NoError(t, err)
	require.Len(t, removed, 2)
}

// TestAttachRefuses: each way in which it cannot be leaves the host and the container as they were.
func TestAttachRefuses(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	_, err = s.Create(t.Context(), "inner", &CreateOptions{Internal: true})
	require.NoError(t, err)
	b, m := newSandbox(t, s, "box")
	other, _ := newSandbox(t, s, "other")
	attach(t, other, "net", &EndpointOptions{IPv4: netip.MustParseAddr("172.17.0.9"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}})
	port := []Port{{Host: 8080, Container: 80}}
	for message, o := range map[string]*EndpointOptions{
		"IPv4: 172.18.0.2 is no address of the network's subnet 172.17.0.0/16": {IPv4: netip.MustParseAddr("172.18.0.2")},
		"IPv4: 172.17.0.1 is the network's gateway":                            {IPv4: netip.MustParseAddr("172.17.0.1")},
		"IPv4: 172.17.255.255 is no address":                                   {IPv4: netip.MustParseAddr("172.17.255.255")},
		"IPv6: network net has no subnet of that family":                       {IPv6: netip.MustParseAddr("fd00::1")},
		"address 172.17.0.9 is in use":                                         {IPv4: netip.MustParseAddr("172.17.0.9"), Ports: port},
		"hardware address 02:00:00:00:00:09 is in use":                         {MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Ports: port},
		"hardware address 02:ca:ac:11:00:01 is in use":                         {MAC: net.HardwareAddr{2, 0xca, 0xac, 0x11, 0, 1}, Ports: port},
		"MAC: 01:00:00:00:00:01 is no unicast address":                         {MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}},
		"Names: \"a b\" has a character":                                       {Names: []string{"a b"}},
		"GatewayPriority: 1001 is not from -1000 to 1000":                      {GatewayPriority: 1001},
		"Ports: protocol \"icmp\" is none of tcp, udp, sctp":                   {Ports: []Port{{Host: 1, Container: 1, Protocol: "icmp"}}},
		"Ports: port 0 of the container":                                       {Ports: []Port{{Host: 80}}},
		"interface":                                                            {Interface: "lo", Ports: port},
		"make interface: file exists":                                          {Interface: "eth9", Ports: port},
	} {
		if o.Interface == "eth9" {
			m.command("ip", "link", "add", "eth9", "type", "veth", "peer", "eth10")
		}
		_, err := b.Attach(t.Context(), "net", o)
		require.ErrorContains(t, err, "attach box to network net: ")
		require.Contains(t, strings.ToLower(err.Error()), strings.ToLower(message))
		require.NoError(t, s.Check(t.Context()))
		all, err := s.Endpoints("net")
		require.NoError(t, err)
		require.Len(t, all, 1)
		r, err := s.Reserve(port)
		require.NoError(t, err, "the port is free again")
		r.Close()
	}
	_, err = b.Attach(t.Context(), "inner", &EndpointOptions{Ports: port})
	require.ErrorContains(t, err, "Ports: an internal network publishes none")
	_, err = b.Attach(t.Context(), "nosuch", nil)
	require.ErrorIs(t, err, ErrNotFound)
	attach(t, b, "net", nil)
	_, err = b.Attach(t.Context(), "net", nil)
	require.ErrorIs(t, err, ErrExists)
	require.ErrorIs(t, b.Detach(t.Context(), "inner"), ErrNotFound)
	_, err = s.Sandbox(1<<30, &SandboxOptions{ID: "box"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Sandbox(1, nil)
	require.ErrorIs(t, err, ErrInvalid)
}
