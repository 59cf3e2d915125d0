package network

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A journal keeps what an Audit function is told.
type journal struct {
	mu  sync.Mutex
	all []Attempt
}

func (j *journal) note(a Attempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, a)
}

// has waits until an attempt is noted.
func (j *journal) has(t *testing.T, want Attempt) {
	t.Helper()
	require.Eventually(t, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, a := range j.all {
			require.False(t, a.Time.IsZero())
			a.Time = time.Time{}
			if a == want {
				return true
			}
		}
		return false
	}, time.Minute, 20*time.Millisecond, "%+v", want)
}

// nameserver answers questions for A and AAAA by a table of names, as a server on the machine does; CNAMEs are "name>alias".
func nameserver(m *machine, at string, table map[string][]string, ttl uint32) *atomic.Int32 {
	m.t.Helper()
	asked := &atomic.Int32{}
	m.in(func() error {
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		m.t.Cleanup(func() { _ = c.Close() })
		go func() {
			b := make([]byte, 2000)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				asked.Add(1)
				if answer := tableAnswer(b[:n], table, ttl); answer != nil {
					_, _ = c.WriteTo(answer, from)
				}
			}
		}()
		return nil
	})
	return asked
}

func tableAnswer(query []byte, table map[string][]string, ttl uint32) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	h.Response = true
	b := dnsmessage.NewBuilder(nil, h)
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	owner := q.Name
	for _, text := range table[nameOf(q)] {
		rh := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: ttl}
		if alias, ok := strings.CutPrefix(text, ">"); ok {
			owner = dnsmessage.MustNewName(alias)
			_ = b.CNAMEResource(rh, dnsmessage.CNAMEResource{CNAME: owner})
			continue
		}
		switch a := netip.MustParseAddr(text); {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			_ = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			_ = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	answer, _ := b.Finish()
	return answer
}

// TestEgress: a container reaches what its allow-list has, by address or by name, and nothing else by any way; what it tried is
// recorded. Its neighbour without a list reaches everything.
func TestEgress(t *testing.T) {
	testenv.RequireCommand(t, "ping")
	host, router, client := world(t)
	client.in(func() error {
		lo, err := netlink.LinkByName("lo")
		for _, text := range []string{"93.184.215.14/32", "93.184.215.15/32", "2606:2800::1/128"} {
			err = errors.Join(err, netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(text))}))
		}
		return err
	})
	host.route("93.184.215.0/24", "10.1.0.1")
	router.route("93.184.215.0/24", "10.2.0.2")
	router.route("2606:2800::/32", "fd02::2")
	asked := nameserver(client, ":53", map[string][]string{
		"example.org": {"93.184.215.14", "2606:2800::1"}, "www.example.org": {">example.org.", "93.184.215.14"},
		"evil.example.org": {"10.2.0.2", "172.17.0.1", "127.0.0.1", "10.1.0.2"}, "git.corp": {"10.2.0.2", "10.1.0.1"},
	}, 30)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	j := &journal{}
	m, pid := newBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{
		ID: "box", Servers: []netip.AddrPort{netip.MustParseAddrPort("10.2.0.2:53")}, Audit: j.note,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	e := attach(t, b, "net", &EndpointOptions{Names: []string{"box"}, Egress: allow(t,
		"10.2.0.2:8080/tcp", "[fd02::2]:8080", "example.org:80", "*.example.org:80", "git.corp=10.2.0.0/16:22")})
	require.Len(t, e.Egress, 1)
	free, mf := newSandbox(t, s, "free")
	ef := attach(t, free, "net", &EndpointOptions{Names: []string{"free"}})
	for _, port := range []int{22, 80, 443, 8080} {
		client.serve(port)
		host.serve(port)
		router.serve(port)
	}

	// By address.
	m.sees("tcp", "10.2.0.2:8080", "10.1.0.2")
	m.sees("tcp", "[fd02::2]:8080", "fd01::2")
	m.sees("udp", "[fd02::2]:8080", "fd01::2")
	m.cannotAny("udp", "10.2.0.2:8080")
	m.cannotAny("tcp", "10.2.0.2:443", "[fd02::2]:443", "93.184.215.14:80")
	j.has(t, Attempt{Sandbox: "box", Network: "net", Allowed: true, Protocol: "tcp", Address: netip.MustParseAddr("10.2.0.2"), Port: 8080})
	j.has(t, Attempt{Sandbox: "box", Network: "net", Protocol: "tcp", Address: netip.MustParseAddr("10.2.0.2"), Port: 443})
	j.has(t, Attempt{Sandbox: "box", Network: "net", Protocol: "tcp", Address: netip.MustParseAddr("fd02::2"), Port: 443})
	// The host: the gateway, its addresses, by IPv6 and by link-local addresses too.
	gw6 := ""
	for _, sub := range mustGet(t, s, "net").Subnets {
		if sub.Gateway.Is6() {
			gw6 = sub.Gateway.String()
		}
	}
	m.cannotAny("tcp",
		"172.17.0.1:80", "10.1.0.2:80", "10.1.0.2:8080", "10.1.0.1:80", "["+gw6+"]:80", "[fd01::2]:80",
		"["+linkLocal(macOf(netip.MustParseAddr("172.17.0.1"))).String()+"%eth0]:80",
	)
	j.has(t, Attempt{Sandbox: "box", Network: "net", Protocol: "tcp", Address: netip.MustParseAddr("172.17.0.1"), Port: 80})
	_, err = m.try("ping", "-c", "1", "-W", "1", "10.2.0.2")
	require.Error(t, err)
	j.has(t, Attempt{Sandbox: "box", Network: "net", Protocol: "icmp", Address: netip.MustParseAddr("10.2.0.2")})
	// By name: not before it was asked for, then for as long as it was told.
	require.Equal(t, "93.184.215.14\n", m.dig("example.org"))
	m.sees("tcp", "93.184.215.14:80", "10.1.0.2")
	m.cannotAny("tcp", "93.184.215.14:443", "93.184.215.15:80")
	require.Equal(t, "2606:2800::1\n", m.dig("example.org", "AAAA"))
	m.sees("tcp", "[2606:2800::1]:80", "fd01::2")
	require.Contains(t, m.dig("WWW.example.org"), "93.184.215.14")
	h, err := s.openHost()
	require.NoError(t, err)
	learned, err := h.rules.conn.GetSetElements(h.rules.set("learned4"))
	require.NoError(t, err)
	var keys [][]byte
	for _, l := range learned {
		keys = append(keys, l.Key)
		require.Equal(t, 40*time.Second, l.Timeout)
		require.Greater(t, l.Expires, 10*time.Second)
	}
	require.Contains(t, keys, join(e.IPv4.Addr().AsSlice(), []byte{93, 184, 215, 14}, []byte{unix.IPPROTO_TCP}, port16(80)))
	// The owner of a name opens no private address, and nobody the host's.
	require.Contains(t, m.dig("evil.example.org"), "10.2.0.2")
	m.cannotAny("tcp", "10.2.0.2:80", "10.1.0.2:80", "172.17.0.1:80")
	require.Contains(t, m.dig("git.corp"), "10.1.0.1")
	m.sees("tcp", "10.2.0.2:22", "10.1.0.2")
	m.cannotAny("tcp", "10.1.0.1:22")
	// Nobody else is asked for another name, or by the sandbox itself.
	before := asked.Load()
	require.Equal(t, dnsmessage.RCodeRefused, m.rcode("secret.evil.net"))
	require.Equal(t, dnsmessage.RCodeRefused, m.rcode("-x", "10.2.0.2"))
	_, _, err = m.query(dropped, "@10.2.0.2", "example.org")
	require.Error(t, err)
	require.Equal(t, before, asked.Load())
	j.has(t, Attempt{Sandbox: "box", Protocol: "dns", Name: "secret.evil.net"})
	j.has(t, Attempt{Sandbox: "box", Protocol: "dns", Name: "example.org", Allowed: true})
	j.has(t, Attempt{Sandbox: "box", Network: "net", Protocol: "udp", Address: netip.MustParseAddr("10.2.0.2"), Port: 53})
	require.Equal(t, "172.17.0.3\n", m.dig("free"))

	// The neighbour.
	mf.sees("tcp", "10.2.0.2:443", "10.1.0.2")
	mf.sees("tcp", "93.184.215.15:80", "10.1.0.2")
	t.Run("golden", func(t *testing.T) {
		testenv.RequireCommand(t, "nft")
		for _, set := range inetSets {
			if set.dynamic {
				host.command("nft", "flush", "set", "inet", "caisson", set.name)
			}
		}
		golden(t, host, "egress.nft", e.HostInterface, "cv-box", ef.HostInterface, "cv-free", e.IPv6.Addr().String(), "fd00::2",
			ef.IPv6.Addr().String(), "fd00::3", mustGet(t, s, "net").Interface, "cs-net")
	})
}

// cannotAny requires that none of the addresses can be reached.
func (m *machine) cannotAny(network string, addresses ...string) {
	m.t.Helper()
	var group sync.WaitGroup
	for _, address := range addresses {
		group.Go(func() {
			var c net.Conn
			err := inside(m.ns, func() (err error) {
				c, err = net.DialTimeout(network, address, dropped)
				return err
			})
			if err != nil {
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(dropped))
			_, _ = c.Write([]byte("?"))
			if _, err := c.Read(make([]byte, 100)); err == nil {
				m.t.Errorf("%s answered", address)
			}
		})
	}
	group.Wait()
}

func mustGet(t *testing.T, s *Store, name string) Network {
	t.Helper()
	n, err := s.Get(name)
	require.NoError(t, err)
	return n
}

// TestEgressOver: nothing of an allow-list is left to who gets the address next, whether the container was detached or its process was
// killed; a network's list holds for all on it; other networks and published ports are no way around it.
func TestEgressOver(t *testing.T) {
	host, _, client := world(t)
	client.serve(80)
	s := newStore(t, host)
	subnet := []Subnet{{Prefix: netip.MustParsePrefix("172.30.0.0/24")}}
	_, err := s.Create(t.Context(), "net", &CreateOptions{Subnets: subnet, Egress: allow(t, "0.0.0.0/0:80-90")})
	require.NoError(t, err)
	_, err = s.Create(t.Context(), "other", nil)
	require.NoError(t, err)
	asked := nameserver(client, ":53", map[string][]string{"client.corp": {"10.2.0.2"}}, 30)
	at := netip.MustParseAddr("172.30.0.9")
	sandbox := func(id string, rules ...string) (*Sandbox, *machine, func()) {
		m, pid, end := startBox(t)
		b, err := s.Sandbox(pid, &SandboxOptions{ID: id, Servers: []netip.AddrPort{netip.MustParseAddrPort("10.2.0.2:53")}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		attach(t, b, "net", &EndpointOptions{IPv4: at, Egress: allow(t, rules...)})
		return b, m, end
	}
	b, m, _ := sandbox("first", "client.corp=10.2.0.0/16")
	// The network's list has no name, and so none is asked for.
	require.Equal(t, dnsmessage.RCodeRefused, m.rcode("client.corp"))
	require.Zero(t, asked.Load())
	require.NoError(t, b.Close())

	b, m, _ = sandbox("second", "10.2.0.2")
	m.sees("tcp", "10.2.0.2:80", "10.1.0.2")
	m.cannotAny("udp", "10.2.0.2:53")
	// A port that another container publishes is where it is published to.
	web, mw := newSandbox(t, s, "web")
	attach(t, web, "other", &EndpointOptions{Ports: []Port{{Host: 80, Container: 80}}})
	mw.serve(80)
	client.sees("tcp", "10.1.0.2:80", "10.2.0.2")
	m.cannotAny("tcp", "10.1.0.2:80")
	require.NoError(t, b.Detach(t.Context(), "net"))

	// Learned, then killed.
	n, err := s.Create(t.Context(), "names", &CreateOptions{Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.31.0.0/24")}}})
	require.NoError(t, err)
	old, pid, end := startBox(t)
	b, err = s.Sandbox(pid, &SandboxOptions{ID: "old", Servers: []netip.AddrPort{netip.MustParseAddrPort("10.2.0.2:53")}})
	require.NoError(t, err)
	at = netip.MustParseAddr("172.31.0.9")
	attach(t, b, n.Name, &EndpointOptions{IPv4: at, Egress: allow(t, "client.corp=10.2.0.2")})
	require.Equal(t, "10.2.0.2\n", old.dig("client.corp"))
	old.sees("tcp", "10.2.0.2:80", "10.1.0.2")
	end()
	b.Forget()
	next, mn := newSandbox(t, s, "next")
	require.Eventually(t, func() bool {
		_, err := next.Attach(t.Context(), n.Name, &EndpointOptions{IPv4: at, Egress: &Egress{}})
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	mn.cannotAny("tcp", "10.2.0.2:80")
	require.NoError(t, next.Detach(t.Context(), n.Name))
	// Without a list all is reached, and with a flushed table the list is made anew at the next change.
	attach(t, next, n.Name, &EndpointOptions{IPv4: at})
	mn.sees("tcp", "10.2.0.2:80", "10.1.0.2")
	require.NoError(t, next.Detach(t.Context(), n.Name))
	attach(t, next, n.Name, &EndpointOptions{IPv4: at, Egress: &Egress{}})
	host.flushRules()
	require.ErrorContains(t, s.Check(t.Context()), "not whole")
	require.NoError(t, s.Repair(t.Context()))
	mn.cannotAny("tcp", "10.2.0.2:80")
}

// TestEgressInvalid: what cannot hold is refused, and names the field.
func TestEgressInvalid(t *testing.T) {
	host := newMachine(t)
	cable(host, newMachine(t), "up0", "10.3.0.1/24", "10.3.0.2/24")
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "mac", &CreateOptions{Driver: Macvlan, Interface: "up0", Egress: &Egress{}})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "Egress")
	_, err = s.Create(t.Context(), "mac", &CreateOptions{Driver: Macvlan, Interface: "up0"})
	require.NoError(t, err)
	_, err = s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	b, _ := newSandbox(t, s, "box")
	_, err = b.Attach(t.Context(), "mac", &EndpointOptions{Egress: &Egress{}})
	require.ErrorContains(t, err, "Egress")
	for _, e := range []*Egress{
		{Allow: []EgressRule{{}}}, {Allow: []EgressRule{{Name: "A"}}}, {Allow: []EgressRule{{Name: "a", Protocol: "x"}}},
		{Allow: make([]EgressRule, maxRules+1)},
	} {
		_, err = b.Attach(t.Context(), "net", &EndpointOptions{Egress: e})
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "Egress")
		_, err = s.Create(t.Context(), "bad", &CreateOptions{Egress: e})
		require.ErrorContains(t, err, "Egress")
	}
	all, err := s.Endpoints("net")
	require.NoError(t, err)
	require.Empty(t, all)
}
