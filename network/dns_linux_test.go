package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// upstream answers every question for A with 192.0.2.1 by udp, and 192.0.2.2 by tcp; it counts them.
func upstream(m *machine) *atomic.Int32 {
	m.t.Helper()
	asked := &atomic.Int32{}
	answer := func(query []byte, last byte) []byte {
		var p dnsmessage.Parser
		h, err := p.Start(query)
		q, err2 := p.Question()
		if errors.Join(err, err2) != nil {
			return nil
		}
		asked.Add(1)
		var all []dnsmessage.ResourceBody
		if q.Type == dnsmessage.TypeA {
			all = append(all, &dnsmessage.AResource{A: [4]byte{192, 0, 2, last}})
		}
		return reply(h, &q, dnsmessage.RCodeSuccess, all)
	}
	m.in(func() error {
		c, err := net.ListenPacket("udp", ":53")
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", ":53")
		if err != nil {
			return err
		}
		m.t.Cleanup(func() { _, _ = c.Close(), l.Close() })
		go func() {
			b := make([]byte, 2000)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(answer(b[:n], 1), from)
			}
		}()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if query, err := readMessage(c); err == nil {
					_ = writeMessage(c, answer(query, 2))
				}
				_ = c.Close()
			}
		}()
		return nil
	})
	return asked
}

// dig looks a name up in the container, as its programs do: [+tcp] [@server] {name [A|AAAA|MX] | -x address}. It returns the answers, a
// line each.
func (m *machine) dig(args ...string) string {
	m.t.Helper()
	text, _, err := m.query(enough, args...)
	require.NoError(m.t, err, args)
	return text
}

// rcode is dig, and returns the answer's code.
func (m *machine) rcode(args ...string) dnsmessage.RCode {
	m.t.Helper()
	_, code, err := m.query(enough, args...)
	require.NoError(m.t, err, args)
	return code
}

func (m *machine) query(wait time.Duration, args ...string) (text string, code dnsmessage.RCode, err error) {
	m.t.Helper()
	network, server := "udp", "127.0.0.11"
	q := dnsmessage.Question{Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	types := map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "MX": dnsmessage.TypeMX}
	name := ""
	for i, arg := range args {
		switch {
		case arg == "+tcp":
			network = "tcp"
		case arg[0] == '@':
			server = arg[1:]
		case arg == "-x":
			q.Type, name = dnsmessage.TypePTR, arpa(netip.MustParseAddr(args[i+1]))
		case types[arg] != 0:
			q.Type = types[arg]
		case name == "":
			name = strings.TrimSuffix(arg, ".") + "."
		}
	}
	q.Name = dnsmessage.MustNewName(name)
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	packed, err := query.Pack()
	require.NoError(m.t, err)
	var answer []byte
	m.in(func() error {
		var c net.Conn
		if c, err = net.DialTimeout(network, net.JoinHostPort(server, "53"), wait); err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(wait))
		if network == "tcp" {
			if err = writeMessage(c, packed); err == nil {
				answer, err = readMessage(c)
			}
			return nil
		}
		if _, err = c.Write(packed); err == nil {
			answer = make([]byte, 4096)
			var n int
			n, err = c.Read(answer)
			answer = answer[:n]
		}
		return nil
	})
	if err != nil {
		return "", 0, err
	}
	var got dnsmessage.Message
	if err := got.Unpack(answer); err != nil {
		return "", 0, err
	}
	for _, r := range got.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			text += netip.AddrFrom4(b.A).String() + "\n"
		case *dnsmessage.AAAAResource:
			text += netip.AddrFrom16(b.AAAA).String() + "\n"
		case *dnsmessage.PTRResource:
			text += b.PTR.String() + "\n"
		case *dnsmessage.CNAMEResource:
			text += b.CNAME.String() + "\n"
		}
	}
	return text, got.RCode, nil
}

// arpa is the name under which an address's name is looked up.
func arpa(a netip.Addr) string {
	name, b := "", a.AsSlice()
	for _, x := range b {
		if a.Is4() {
			name = fmt.Sprint(x, ".", name)
		} else {
			name = fmt.Sprintf("%x.%x.%s", x&15, x>>4, name)
		}
	}
	if a.Is4() {
		return name + "in-addr.arpa."
	}
	return name + "ip6.arpa."
}

func TestNames(t *testing.T) {
	host, _, client := world(t)
	asked := upstream(client)
	s := newStore(t, host)
	for _, n := range []struct {
		name string
		o    CreateOptions
	}{{"front", CreateOptions{IPv6: true}}, {"back", CreateOptions{}}, {"inner", CreateOptions{Internal: true}}} {
		_, err := s.Create(t.Context(), n.name, &n.o) // in this order: the first has 172.17.0.0/16
		require.NoError(t, err)
	}
	other, err := Open(s.docs.Dir, &Options{Namespace: host.path(), Table: "caisson"}) // as another process
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	box := func(s *Store, id string) (*Sandbox, *machine) {
		m, pid := newBox(t)
		b, err := s.Sandbox(pid, &SandboxOptions{ID: id, Servers: []netip.AddrPort{
			netip.MustParseAddrPort("10.1.0.1:53"), netip.MustParseAddrPort("10.2.0.2:53"), // the first refuses
		}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b, m
	}
	web, m := box(s, "web1")
	e := attach(t, web, "front", &EndpointOptions{Names: []string{"web", "Www"}})
	db, dbm := box(other, "db1")
	e2 := attach(t, db, "front", &EndpointOptions{Names: []string{"db", "www"}})
	hidden, _ := box(s, "hidden1")
	attach(t, hidden, "back", &EndpointOptions{Names: []string{"hidden"}})

	require.Equal(t, e2.IPv4.Addr().String()+"\n", m.dig("db"))
	require.Equal(t, e2.IPv4.Addr().String()+"\n", m.dig("+tcp", "DB."))
	require.Equal(t, e2.IPv6.Addr().String()+"\n", m.dig("db", "AAAA"))
	require.Equal(t, e2.IPv4.Addr().String()+"\n", m.dig("db.front"))
	require.Equal(t, e.IPv4.Addr().String()+"\n", dbm.dig("web"))
	both := dbm.dig("www")
	require.Contains(t, both, e.IPv4.Addr().String())
	require.Contains(t, both, e2.IPv4.Addr().String())
	require.Equal(t, "db.front.\n", m.dig("-x", e2.IPv4.Addr().String()))
	require.Equal(t, "db.front.\n", m.dig("-x", e2.IPv6.Addr().String()))
	require.Zero(t, asked.Load())
	require.Empty(t, m.dig("db", "MX"), "it has no other records, and nobody else is asked for them")
	require.Equal(t, dnsmessage.RCodeNameError, m.rcode("-x", "172.17.99.99"))
	require.Zero(t, asked.Load())
	// What is no container's is forwarded, as it came.
	require.Equal(t, "192.0.2.1\n", m.dig("hidden"))
	require.Equal(t, "192.0.2.1\n", m.dig("example.org"))
	require.Equal(t, "192.0.2.2\n", m.dig("+tcp", "example.org"))
	require.EqualValues(t, 3, asked.Load())
	m.in(func() error {
		// Port 53 is the container's own.
		c, err := net.ListenPacket("udp", ":53")
		if err == nil {
			err = c.Close()
		}
		return err
	})

	// CVE-2024-29018: nothing leaves an internal network by its resolver. It is on no other.
	inner, im := box(s, "inner1")
	attach(t, inner, "inner", &EndpointOptions{Names: []string{"inner"}})
	require.Equal(t, dnsmessage.RCodeRefused, im.rcode("example.org"))
	require.Equal(t, dnsmessage.RCodeRefused, im.rcode("+tcp", "secret.example.org"))
	require.Equal(t, dnsmessage.RCodeRefused, im.rcode("-x", "192.0.2.7"))
	require.EqualValues(t, 3, asked.Load())
	im.cannot("udp", "10.2.0.2:53")
	// Connected to another, by another process, it sees both.
	joined, err := other.Sandbox(inner.owner.PID, &SandboxOptions{ID: "inner1", NoResolver: true})
	require.NoError(t, err)
	attach(t, joined, "back", &EndpointOptions{Names: []string{"inner"}})
	require.Eventually(t, func() bool { return im.dig("hidden") == "172.18.0.2\n" || im.dig("hidden") == "172.17.0.2\n" },
		time.Minute, viewTime/10)
	require.Equal(t, "192.0.2.1\n", im.dig("example.org"))
	all, err := inner.Endpoints()
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "eth1", all[1].Interface)
	require.NoError(t, joined.Detach(t.Context(), "back"))
	require.Eventually(t, func() bool { return im.dig("hidden") == "" }, time.Minute, viewTime/10)
	joined.Forget()

	// A name goes with its container.
	require.NoError(t, db.Close())
	require.Equal(t, "192.0.2.1\n", m.dig("db"))
}

// TestDial: the host's Go code in a container's network.
func TestDial(t *testing.T) {
	host := newMachine(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "inner", &CreateOptions{Internal: true})
	require.NoError(t, err)
	a, _ := newSandbox(t, s, "a")
	b, mb := newSandbox(t, s, "b")
	attach(t, a, "inner", &EndpointOptions{Names: []string{"web"}})
	attach(t, b, "inner", nil)
	l, err := a.Listen(t.Context(), "tcp", ":80")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	transport := b.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://web/")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(body), "172.17.0.3:")
	c, err := a.Dial(t.Context(), "tcp", "localhost:80")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	p, err := b.ListenPacket(t.Context(), "udp", "172.17.0.3:5000")
	require.NoError(t, err)
	require.NoError(t, p.Close())
	for _, address := range []string{"example.org:80", "web:http", "web", "web:99999"} {
		_, err = b.Dial(t.Context(), "tcp", address)
		require.Error(t, err, address)
	}
	_, err = b.Dial(t.Context(), "unix", "/x:1")
	require.Error(t, err)
	// Inside, the network reaches neither the host nor the world; the host's own Go code does reach it.
	mb.cannot("tcp", "172.17.0.1:22")
	require.NotEmpty(t, mb.command("ip", "route"))
	require.NotContains(t, mb.command("ip", "route"), "default")
}
