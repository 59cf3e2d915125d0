package network

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// An address that is reserved is not given out, and not to be had.
func TestReserved(t *testing.T) {
	addr := netip.MustParseAddr
	s := Subnet{
		Prefix: netip.MustParsePrefix("10.9.0.0/29"), Gateway: addr("10.9.0.1"),
		Reserved: map[string]netip.Addr{"router": addr("10.9.0.3"), "printer": addr("10.9.0.4")},
	}
	require.NoError(t, (&CreateOptions{Subnets: []Subnet{s}}).check())
	taken := map[netip.Addr]bool{}
	var got []netip.Addr
	for last := (netip.Addr{}); ; {
		a, ok := nextAddress(s, last, func(a netip.Addr) bool { return taken[a] })
		if !ok {
			break
		}
		taken[a], last = true, a
		got = append(got, a)
	}
	require.Equal(t, []netip.Addr{addr("10.9.0.2"), addr("10.9.0.5"), addr("10.9.0.6")}, got)
	n := &Network{Name: "x", Driver: Bridge, Subnets: []Subnet{s}}
	require.NoError(t, (&EndpointOptions{IPv4: addr("10.9.0.2")}).check(n))
	require.ErrorContains(t, (&EndpointOptions{IPv4: addr("10.9.0.4")}).check(n), "IPv4: 10.9.0.4 is reserved")
}
