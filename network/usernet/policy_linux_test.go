package usernet

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/caisson-engine/caisson/network"
)

// TestEgress: an allow-list holds in user mode as it does on a bridge.
func TestEgress(t *testing.T) {
	a4, a6 := hostAddr(t)
	server := nameserver(t, a4, map[string]string{"a.corp.": a4, "b.corp.": a4})
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", &network.CreateOptions{IPv6: true})
	require.NoError(t, err)
	serve(t, here, a4+":7002")
	serve(t, here, a4+":7003")
	serve(t, here, "["+a6+"]:7002")
	var mu sync.Mutex
	var tried []network.Attempt
	b := newBox(t, s, network.SandboxOptions{ID: "box", Servers: []netip.AddrPort{server}, Audit: func(a network.Attempt) {
		mu.Lock()
		defer mu.Unlock()
		a.Time = time.Time{}
		tried = append(tried, a)
	}})
	policy := func(rules ...string) *network.Egress {
		e := &network.Egress{Allow: []network.EgressRule{}}
		for _, text := range rules {
			r, err := network.ParseEgress(text)
			require.NoError(t, err)
			e.Allow = append(e.Allow, r)
		}
		return e
	}
	// The host's own addresses are opened by a rule for the one address alone.
	b.attach("net", &network.EndpointOptions{Egress: policy("198.18.0.0/15", "a.corp=198.18.0.0/15:7003", "["+a6+"]:7002/tcp")})
	b.sees("tcp", "["+a6+"]:7002", a6)
	b.cannot("udp", "["+a6+"]:7002")
	b.cannot("tcp", a4+":7002", a4+":7003", "10.250.0.1:80")
	require.Equal(t, a4+"\n", b.command("dig", "+short", "@10.250.0.1", "a.corp"))
	b.cannot("tcp", a4+":7003")
	require.Contains(t, b.command("dig", "@10.250.0.1", "secret.evil.net"), "REFUSED")
	_, err = b.try("dig", "+time=1", "+tries=1", "@"+a4, "-p", "7053", "a.corp")
	require.Error(t, err)
	_, err = b.try("ping", "-c", "1", "-W", "1", a4)
	require.Error(t, err)
	for _, want := range []network.Attempt{
		{Sandbox: "box", Network: "net", Allowed: true, Protocol: "tcp", Address: netip.MustParseAddr(a6), Port: 7002},
		{Sandbox: "box", Network: "net", Protocol: "udp", Address: netip.MustParseAddr(a6), Port: 7002},
		{Sandbox: "box", Network: "net", Protocol: "tcp", Address: netip.MustParseAddr(a4), Port: 7003},
		{Sandbox: "box", Network: "net", Protocol: "icmp", Address: netip.MustParseAddr(a4)},
		{Sandbox: "box", Allowed: true, Protocol: "dns", Name: "a.corp"},
		{Sandbox: "box", Protocol: "dns", Name: "secret.evil.net"},
	} {
		mu.Lock()
		require.Contains(t, tried, want)
		mu.Unlock()
	}
	require.NoError(t, b.Detach(t.Context(), "net"))
	b.attach("net", &network.EndpointOptions{Egress: policy(a4 + ":7002/tcp")})
	b.sees("tcp", a4+":7002", a4)
	b.cannot("tcp", a4+":7003")
}

// nameserver answers questions for A by a table.
func nameserver(t *testing.T, at string, table map[string]string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", at+":7053")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var p dnsmessage.Parser
			h, err := p.Start(b[:n])
			if err != nil {
				continue
			}
			q, err := p.Question()
			if err != nil {
				continue
			}
			h.Response = true
			m := dnsmessage.NewBuilder(nil, h)
			_ = m.StartQuestions()
			_ = m.Question(q)
			_ = m.StartAnswers()
			if a, ok := table[strings.ToLower(q.Name.String())]; ok && q.Type == dnsmessage.TypeA {
				rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
				_ = m.AResource(rh, dnsmessage.AResource{A: netip.MustParseAddr(a).As4()})
			}
			answer, _ := m.Finish()
			_, _ = c.WriteTo(answer, from)
		}
	}()
	return netip.MustParseAddrPort(at + ":7053")
}

// TestInternal: from an internal network nothing is reached but neighbours; in an isolated one not they.
func TestInternal(t *testing.T) {
	a4, _ := hostAddr(t)
	s := newStore(t)
	_, err := s.Create(t.Context(), "inner", &network.CreateOptions{Internal: true})
	require.NoError(t, err)
	_, err = s.Create(t.Context(), "apart", &network.CreateOptions{Isolated: true})
	require.NoError(t, err)
	serve(t, here, a4+":7004")
	a, b := newBox(t, s, network.SandboxOptions{ID: "a"}), newBox(t, s, network.SandboxOptions{ID: "b"})
	a.attach("inner", nil)
	b.attach("inner", &network.EndpointOptions{Names: []string{"b"}})
	serve(t, b.in, ":80")
	require.NotContains(t, a.command("ip", "route"), "default")
	a.sees("tcp", "10.250.0.3:80", "10.250.0.2")
	a.command("ip", "route", "add", "default", "via", "10.250.0.1")
	a.cannot("tcp", a4+":7004")
	a.cannot("udp", a4+":7004")
	_, err = a.try("ping", "-c", "1", "-W", "1", a4)
	require.Error(t, err)
	require.Equal(t, "10.250.0.3\n", a.command("dig", "+short", "@10.250.0.1", "b"))
	require.Contains(t, a.command("dig", "@10.250.0.1", "example.org"), "REFUSED")

	c, d := newBox(t, s, network.SandboxOptions{ID: "c"}), newBox(t, s, network.SandboxOptions{ID: "d"})
	c.attach("apart", nil)
	d.attach("apart", nil)
	serve(t, d.in, ":80")
	c.cannot("tcp", "10.250.1.3:80")
	c.sees("tcp", a4+":7004", a4)
}

// TestSpoofing: a container that makes its own packets sends none in another's name, nor to the host's loopback.
func TestSpoofing(t *testing.T) {
	hostAddr(t)
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	a, b := newBox(t, s, network.SandboxOptions{ID: "a"}), newBox(t, s, network.SandboxOptions{ID: "b"})
	ea := a.attach("net", nil)
	eb := b.attach("net", nil)
	got := make(chan string, 16)
	listen := func(in func(func() error) error, at string) {
		require.NoError(t, in(func() error {
			c, err := net.ListenPacket("udp", at)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = c.Close() })
			go func() {
				buf := make([]byte, 100)
				for {
					n, from, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					got <- string(buf[:n]) + " from " + hostOf(from)
				}
			}()
			return nil
		}))
	}
	listen(b.in, ":99")
	listen(here, "127.0.0.1:7099")
	macA, macB := mustMAC(t, ea.MAC), mustMAC(t, eb.MAC)
	gateway := net.HardwareAddr{0x02, 0xca, 10, 250, 0, 1}
	var fd int
	require.NoError(t, a.in(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	index := 0
	require.NoError(t, a.in(func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			index = i.Index
		}
		return err
	}))
	send := func(from, to net.HardwareAddr, src, dst string, port uint16, text string) {
		frame := append(append(append([]byte{}, to...), from...), 8, 0)
		frame = append(frame, datagram(src, dst, port, text)...)
		require.NoError(t, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index}))
	}
	send(macA, macB, "10.250.0.9", "10.250.0.3", 99, "other address")
	send(mustMAC(t, "02:00:00:00:00:09"), macB, "10.250.0.2", "10.250.0.3", 99, "other mac")
	send(macA, macB, "10.250.0.1", "10.250.0.3", 99, "the gateway")
	send(macA, gateway, "10.250.0.2", "127.0.0.1", 7099, "loopback")
	send(macA, gateway, "127.0.0.1", "127.0.0.1", 7099, "loopback")
	send(macA, gateway, "10.250.0.2", "0.0.0.0", 7099, "unspecified")
	send(macA, macB, "10.250.0.2", "10.250.0.3", 99, "own")
	require.Equal(t, "own from 10.250.0.2", <-got)
	select {
	case text := <-got:
		t.Fatal(text)
	case <-time.After(200 * time.Millisecond):
	}
	// What is no packet is not taken for one.
	for i := range 60 {
		frame := append(append(append([]byte{}, gateway...), macA...), []byte{8, 0, 0x86, 0xdd, 8, 6}[i%3*2:][:2]...)
		frame = append(frame, make([]byte, i)...)
		if len(frame) > 14 {
			frame[14] = byte(0x40 + i)
		}
		require.NoError(t, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index}))
	}
	send(macA, macB, "10.250.0.2", "10.250.0.3", 99, "own")
	require.Equal(t, "own from 10.250.0.2", <-got)
}

func mustMAC(t *testing.T, text string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(text)
	require.NoError(t, err)
	return m
}

func datagram(src, dst string, port uint16, text string) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize+len(text))
	from, to := tcpip.AddrFrom4(netip.MustParseAddr(src).As4()), tcpip.AddrFrom4(netip.MustParseAddr(dst).As4())
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: from, DstAddr: to,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	u := b[header.IPv4MinimumSize:]
	binary.BigEndian.PutUint16(u, 1234)
	binary.BigEndian.PutUint16(u[2:], port)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[header.UDPMinimumSize:], text)
	return b
}
