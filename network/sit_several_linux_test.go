package network

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSitSeveral: a network on an interface of the host may have several subnets of a family, as Docker's have; a container has an address of one
// of them, its own choice or the first that has room, and that one's gateway. A bridge has one of each.
func TestSitSeveral(t *testing.T) {
	host, router, client := world(t)
	s := newStore(t, host)
	router.command("ip", "addr", "add", "10.5.0.1/30", "dev", "lan")
	router.command("ip", "addr", "add", "10.6.0.1/24", "dev", "lan")
	client.route("10.5.0.0/30", "10.2.0.1")
	client.route("10.6.0.0/24", "10.2.0.1")
	several := prefixes("10.5.0.0/30", "10.6.0.0/24", "fd05::/64")
	_, err := s.Create(t.Context(), "net", &CreateOptions{Subnets: several})
	require.ErrorContains(t, err, "Subnets: more than one of the same family, which a bridge has not")
	_, err = s.Create(t.Context(), "lan", &CreateOptions{Driver: Macvlan, Interface: "lan", Subnets: prefixes("10.5.0.0/16", "10.5.4.0/24")})
	require.ErrorContains(t, err, "Subnets: 10.5.4.0/24 overlaps with 10.5.0.0/16")
	n, err := s.Create(t.Context(), "lan", &CreateOptions{Driver: Macvlan, Interface: "lan", Subnets: several})
	require.NoError(t, err)
	require.Len(t, n.Subnets, 3)
	require.Equal(t, "10.6.0.1", n.Subnets[1].Gateway.String())

	client.serve(80)
	for i, want := range []string{"10.5.0.2/30", "10.6.0.2/24", "10.6.0.9/24", "10.6.0.10/24"} { // the first has room for one
		b, m := newSandbox(t, s, want[:8])
		o := &EndpointOptions{}
		if i == 2 {
			o.IPv4 = netip.MustParseAddr("10.6.0.9")
		}
		e, err := b.Attach(t.Context(), "lan", o)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("needs the kernel's macvlan")
		}
		require.NoError(t, err)
		require.Equal(t, want, e.IPv4.String())
		require.Equal(t, "fd05::/64", e.IPv6.Masked().String())
		m.sees("tcp", "10.2.0.2:80", e.IPv4.Addr().String())
	}
	b, _ := newSandbox(t, s, "outside")
	for address, message := range map[string]string{
		"10.7.0.1": "10.7.0.1 is no address of the network's subnet 10.5.0.0/30",
		"10.6.0.1": "10.6.0.1 is the network's gateway",
		"10.6.0.9": "address 10.6.0.9 is in use",
	} {
		_, err = b.Attach(t.Context(), "lan", &EndpointOptions{IPv4: netip.MustParseAddr(address)})
		require.ErrorContains(t, err, message)
	}
	require.NoError(t, s.Check(t.Context()))
}
