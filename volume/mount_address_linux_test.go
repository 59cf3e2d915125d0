package volume

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServerAddress: what the kernel is told of a server is an address, of IPv4 where its name has one.
func TestServerAddress(t *testing.T) {
	for _, c := range []struct {
		m    Mount
		want []string
	}{
		{Mount{Type: "nfs", Device: "192.0.2.1:/a:/b"}, []string{"addr=192.0.2.1"}},
		{Mount{Type: "nfs4", Device: "[2001:db8::1]:/a", Options: "soft"}, []string{"soft", "addr=2001:db8::1"}},
		{Mount{Type: "nfs", Device: "]:/a", Options: "addr=192.0.2.5"}, []string{"addr=192.0.2.5"}},
		{Mount{Type: "nfs", Device: ":/a", Options: "addr=192.0.2.2,soft"}, []string{"addr=192.0.2.2", "soft"}},
		{Mount{Type: "cifs", Device: `\\192.0.2.3\share`, Options: "user=x"}, []string{"user=x", "addr=192.0.2.3"}},
		{Mount{Type: "cifs", Device: "//server/share", Options: "ip=192.0.2.4"}, []string{"addr=192.0.2.4"}},
		{Mount{Type: "ext4", Device: "/dev/sdb"}, nil},
	} {
		got, err := c.m.resolve(t.Context(), c.m.Options)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%+v", c.m)
	}
	_, err := (&Mount{Type: "nfs", Device: ":/a"}).resolve(t.Context(), "")
	require.ErrorContains(t, err, `option "addr"`)
	six, mapped := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.1")
	require.Equal(t, netip.MustParseAddr("192.0.2.1"), preferred([]netip.Addr{six, mapped}))
	require.Equal(t, six, preferred([]netip.Addr{six}))
}
