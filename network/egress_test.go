package network

import (
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseEgress(t *testing.T) {
	p := netip.MustParsePrefix
	for text, want := range map[string]EgressRule{
		"example.org":              {Name: "example.org"},
		"Example.org.:443":         {Name: "example.org", Port: 443, PortEnd: 443},
		"*.example.org:80-90/tcp":  {Name: "*.example.org", Port: 80, PortEnd: 90, Protocol: "tcp"},
		"10.0.0.0/8":               {Prefix: p("10.0.0.0/8")},
		"10.0.0.0/8:53/udp":        {Prefix: p("10.0.0.0/8"), Port: 53, PortEnd: 53, Protocol: "udp"},
		"192.0.2.7/icmp":           {Prefix: p("192.0.2.7/32"), Protocol: "icmp"},
		"2001:db8::1":              {Prefix: p("2001:db8::1/128")},
		"[2001:db8::/32]:443":      {Prefix: p("2001:db8::/32"), Port: 443, PortEnd: 443},
		"git.corp=10.1.0.0/16:22":  {Name: "git.corp", Prefix: p("10.1.0.0/16"), Port: 22, PortEnd: 22},
		"g.corp=[fd00::1]:1-2/udp": {Name: "g.corp", Prefix: p("fd00::1/128"), Port: 1, PortEnd: 2, Protocol: "udp"},
	} {
		r, err := ParseEgress(text)
		require.NoError(t, err, text)
		require.Equal(t, want, r, text)
		again, err := ParseEgress(r.String())
		require.NoError(t, err, text)
		require.Equal(t, r, again)
	}
	for _, text := range []string{
		"", ":443", "example.org:", "example.org:0", "example.org:99999", "example.org:1-2000", "a b", "*", "*.", "a.*.org",
		"example.org/udp", "10.0.0.1/8", "10.0.0.0/8:5-3", "[::1", "[::1]443", "=10.0.0.0/8", "a=b", "1.2.3.4:5/icmp", "a..b",
		"::ffff:1.2.3.4", "fe80::1%eth0", "example.org:http",
	} {
		_, err := ParseEgress(text)
		require.ErrorIs(t, err, ErrInvalid, text)
		require.ErrorIs(t, err, fs.ErrInvalid, text)
		require.ErrorContains(t, err, "Egress", text)
	}
}

func FuzzParseEgress(f *testing.F) {
	for _, s := range []string{"a:1", "[::1]:2/udp", "a=10.0.0.0/8:1-9", "*.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseEgress(text)
		if err != nil {
			return
		}
		again, err := ParseEgress(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func allow(t testing.TB, rules ...string) *Egress {
	t.Helper()
	e := &Egress{Allow: []EgressRule{}}
	for _, text := range rules {
		r, err := ParseEgress(text)
		require.NoError(t, err)
		e.Allow = append(e.Allow, r)
	}
	return e
}

func TestPolicies(t *testing.T) {
	a := netip.MustParseAddr
	p := Policies{*allow(t, "*.example.org:443", "10.0.0.0/8:80", "db.corp=10.9.0.0/16:5432")}
	require.True(t, p.AllowsName("WWW.Example.org."))
	require.False(t, p.AllowsName("example.org"))
	require.False(t, p.AllowsName("evilexample.org"))
	require.False(t, p.AllowsName("example.org.evil.net"))
	require.True(t, p.Allows(a("10.1.2.3"), protoTCP, 80))
	require.False(t, p.Allows(a("10.1.2.3"), protoTCP, 81))
	require.False(t, p.Allows(a("10.1.2.3"), protoICMP, 80))
	require.False(t, p.Allows(a("11.1.2.3"), protoTCP, 80))
	require.True(t, p.Allows(a("8.8.8.8"), protoTCP, 443, "www.example.org"))
	require.False(t, p.Allows(a("8.8.8.8"), protoTCP, 443, "www.example.net"))
	// The owner of a name does not open what is not the Internet's.
	for _, private := range []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1",
		"::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "0.0.0.0", "224.0.0.1", "255.255.255.255"} {
		require.False(t, p.Allows(a(private), protoTCP, 443, "www.example.org"), private)
	}
	require.True(t, p.Allows(a("10.9.0.1"), protoTCP, 5432, "db.corp"))
	require.False(t, p.Allows(a("10.8.0.1"), protoTCP, 5432, "db.corp"))
	// All policies must allow it.
	p = append(p, *allow(t, "10.0.0.0/8", "www.example.org"))
	require.True(t, p.AllowsName("www.example.org"))
	require.False(t, p.AllowsName("ftp.example.org"))
	require.True(t, p.Allows(a("10.1.2.3"), protoTCP, 80))
	require.False(t, p.Allows(a("10.1.2.3"), protoTCP, 81))
	require.True(t, Policies{}.Allows(a("127.0.0.1"), 99, 1))
	require.False(t, Policies{{}}.Allows(a("127.0.0.1"), 99, 1))
	require.False(t, Policies{{}}.AllowsName("a"))
}

// TestAreas: what the kernel's sets get is what the rules say, and each connection is in one element at most.
func TestAreas(t *testing.T) {
	pick := func(list ...string) string { return list[rand.IntN(len(list))] }
	for range 200 {
		var p Policies
		for range 1 + rand.IntN(2) {
			var rules []string
			for range rand.IntN(6) {
				rules = append(rules, pick("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.2.0.0/16")+
					pick("", ":80", ":80-90", ":85-95", ":1-65535")+pick("", "/tcp", "/udp", "/sctp"))
			}
			p = append(p, *allow(t, rules...))
		}
		areas, err := p.areas(false)
		require.NoError(t, err)
		for _, text := range []string{"10.1.2.3", "10.1.9.9", "10.2.0.1", "10.9.9.9", "11.0.0.1"} {
			for _, protocol := range []uint8{0, protoICMP, protoTCP, protoUDP, protoSCTP, 255} {
				for _, port := range []uint16{0, 1, 79, 80, 85, 90, 91, 95, 96, 65535} {
					a, in := netip.MustParseAddr(text), 0
					for _, r := range areas {
						if r.prefix.Contains(a) && r.box.first <= protocol && protocol <= r.box.last && r.box.port <= port && port <= r.box.portEnd {
							in++
						}
					}
					want := 0
					if p.Allows(a, protocol, port) {
						want = 1
					}
					require.Equal(t, want, in, "%v: %s %d %d", p, a, protocol, port)
				}
			}
		}
	}
}
