package network

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestResolverAgain: a resolver takes the place of an earlier one in the same namespace, and that of a table of whatever kind
// that has its name.
func TestResolverAgain(t *testing.T) {
	testenv.RequireCommand(t, "nft")
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	m, pid := newBox(t)
	for _, before := range []string{
		"", "delete table ip caisson-dns; add table ip caisson-dns { chain output { type filter hook output priority 0; drop; }; }",
		"flush chain ip caisson-dns output", "add rule ip caisson-dns output drop", "add chain ip caisson-dns other",
	} {
		if before != "" {
			m.command("nft", before)
		}
		b, err := s.Sandbox(pid, &SandboxOptions{ID: "box"})
		require.NoError(t, err)
		e := attach(t, b, "net", &EndpointOptions{Names: []string{"box"}})
		require.Equal(t, e.IPv4.Addr().String()+"\n", m.dig("box"), before)
		require.Equal(t, e.IPv4.Addr().String()+"\n", m.dig("+tcp", "box"), before)
		require.Equal(t, 2, strings.Count(m.command("nft", "list", "chain", "ip", "caisson-dns", "output"), "dnat to"))
		require.NoError(t, b.Close())
	}
}

// TestParameters: kernel parameters are set by a mount of proc of their own, and by the machine's where there is none.
func TestParameters(t *testing.T) {
	m := newMachine(t)
	m.in(func() error {
		own := openParameters()
		defer own.close()
		require.GreaterOrEqual(t, own.fd, 0)
		for i, p := range []parameters{own, {-1}} {
			value := string(rune('0' + i))
			require.NoError(t, p.set("ipv4/conf/lo/forwarding", value))
			require.Equal(t, value+"\n", m.command("cat", "/proc/sys/net/ipv4/conf/lo/forwarding"))
			err := p.set("ipv4/conf/nosuch/forwarding", "1")
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.ErrorContains(t, err, "set kernel parameter: write /proc/sys/net/ipv4/conf/nosuch/forwarding: ")
		}
		return nil
	})
}

// TestNoAddressOutside: the host's end of a pair has no address of IPv6, not even one of its link.
func TestNoAddressOutside(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	b, _ := newSandbox(t, s, "box")
	e := attach(t, b, "net", nil)
	host.in(func() error {
		l, err := netlink.LinkByName(e.HostInterface)
		require.NoError(t, err)
		require.EqualValues(t, netlink.OperUp, l.Attrs().OperState)
		addrs, err := netlink.AddrList(l, nl.FAMILY_V6)
		require.Empty(t, addrs)
		return err
	})
}

// TestReadHalfWay: an endpoint that another process read while it was being attached is read again.
func TestReadHalfWay(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	other, err := Open(s.dir, &Options{Namespace: host.path(), Table: "caisson"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	b, _ := newSandbox(t, s, "box")
	e := attach(t, b, "net", nil)
	x, err := s.index("net")
	require.NoError(t, err)
	whole, half := e, e
	half.Interface = ""
	require.NoError(t, s.keepEndpoint(x, &half))
	all, err := other.Endpoints("net")
	require.NoError(t, err)
	require.Empty(t, all[0].Interface)
	require.NoError(t, s.keepEndpoint(x, &whole))
	all, err = other.Endpoints("net")
	require.NoError(t, err)
	require.Equal(t, "eth0", all[0].Interface)
	// That was a guess, and the name was taken.
	whole.Interface = "eth1"
	require.NoError(t, s.keepEndpoint(x, &whole))
	all, err = other.Endpoints("net")
	require.NoError(t, err)
	require.Equal(t, "eth1", all[0].Interface)
	whole.Interface = "eth0"
	require.NoError(t, s.keepEndpoint(x, &whole))
}
