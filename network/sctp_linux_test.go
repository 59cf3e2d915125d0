package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSCTP: a published port of SCTP is reached from the world, and is nobody else's.
func TestSCTP(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	b, m := newSandbox(t, s, "box")
	ports, err := ParsePorts("9000-9001:90-91/sctp")
	require.NoError(t, err)
	_, err = b.Attach(t.Context(), "net", &EndpointOptions{Ports: ports})
	if errors.Is(err, errors.ErrUnsupported) {
		require.NoError(t, s.Check(t.Context()))
		t.Skip("needs the kernel's sctp")
	}
	require.NoError(t, err)
	_, err = s.Reserve(ports)
	require.ErrorIs(t, err, ErrPortInUse)
	_, err = s.Reserve([]Port{{Host: 8999, Container: 1, Protocol: "sctp"}, {Host: 9001, Container: 2, Protocol: "sctp"}})
	require.ErrorIs(t, err, ErrPortInUse)
	socket := func() (int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		return fd, os.NewSyscallError("socket", err)
	}
	for i := range ports {
		var l int
		m.in(func() (err error) {
			if l, err = socket(); err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Close(l) })
			return errors.Join(unix.Bind(l, &unix.SockaddrInet4{Port: 90 + i}), unix.Listen(l, 5))
		})
		client.in(func() error {
			c, err := socket()
			if err != nil {
				return err
			}
			defer unix.Close(c)
			if err := unix.Connect(c, &unix.SockaddrInet4{Port: 9000 + i, Addr: [4]byte{10, 1, 0, 2}}); err != nil {
				return os.NewSyscallError("connect", err)
			}
			fd, from, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if err != nil {
				return os.NewSyscallError("accept", err)
			}
			defer unix.Close(fd)
			require.Equal(t, [4]byte{10, 2, 0, 2}, from.(*unix.SockaddrInet4).Addr)
			return nil
		})
	}
}

// echoes has each message that comes to the machine's port of SCTP sent back as it came. Whoever says "bye" is no more listened to, and
// "reset" is an abort.
func (m *machine) echoes(port uint16) {
	m.t.Helper()
	for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		m.in(func() error {
			l, _, err := listenSCTP(netip.AddrPortFrom(a, port))
			if err != nil {
				return err
			}
			m.t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.accept()
					if err != nil {
						return
					}
					_ = c.control(prepareSCTP)
					go echo(c)
				}
			}()
			return nil
		})
	}
}

func echo(c sctpSocket) {
	defer c.Close()
	b := make([]byte, 64<<10)
	for {
		n, info, err := c.receive(&b)
		if err != nil || n == 0 || string(b[:n]) == "bye" {
			return
		}
		if string(b[:n]) == "reset" {
			c.abort()
			return
		}
		if c.send(b[:n], info) != nil {
			return
		}
	}
}

// associate connects from the machine.
func (m *machine) associate(to string) (c sctpSocket) {
	m.t.Helper()
	at := netip.MustParseAddrPort(to)
	ctx, cancel := context.WithTimeout(m.t.Context(), enough)
	defer cancel()
	m.in(func() (err error) {
		c, err = newSCTP(at.Addr())
		if err == nil {
			err = errors.Join(c.control(prepareSCTP), connect(ctx, c.File, sockaddr(at, at.Addr().Is6())))
		}
		return err
	})
	m.t.Cleanup(func() { _ = c.Close() })
	require.NoError(m.t, c.SetDeadline(time.Now().Add(enough)))
	return c
}

// exchange sends a message and requires that it comes back.
func (c sctpSocket) exchange(t *testing.T, text string, info messageInfo) {
	t.Helper()
	require.NoError(t, c.send([]byte(text), info))
	b := make([]byte, 10)
	n, got, err := c.receive(&b)
	require.NoError(t, err)
	require.Equal(t, info, got)
	require.True(t, text == string(b[:n]), "%d bytes of %d", n, len(text))
}

// paths requires that each address of a host's associations with itself is found to answer.
func (m *machine) paths() {
	m.t.Helper()
	var text []byte
	require.Eventually(m.t, func() bool {
		m.in(func() (err error) {
			text, err = os.ReadFile("/proc/thread-self/net/sctp/remaddr")
			return err
		})
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
		const active = "2"
		return !slices.ContainsFunc(lines, func(line string) bool { return !strings.HasSuffix(strings.TrimSpace(line), " "+active) })
	}, enough, 10*time.Millisecond, "%s", &text)
}

// TestSCTPByLoopback: who comes by a loopback address of the host, by another of its own, or in a family that the container lacks speaks to
// it as if there were nothing in between: messages, streams, ends and aborts are passed on.
func TestSCTPByLoopback(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	for _, name := range []string{"both", "four"} {
		_, err := s.Create(t.Context(), name, &CreateOptions{IPv6: name == "both"})
		require.NoError(t, err)
	}
	b, m := newSandbox(t, s, "box")
	err := inside(host.ns, func() error { // milliseconds: all addresses are tried soon
		return errors.Join(writeSysctl("sctp/rto_min", "100"), writeSysctl("sctp/rto_initial", "200"), writeSysctl("sctp/hb_interval", "50"))
	})
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("needs the kernel's sctp")
	}
	require.NoError(t, err)
	publish := func(spec string) []Port {
		ports, err := ParsePorts(spec)
		require.NoError(t, err)
		return ports
	}
	_, err = b.Attach(t.Context(), "both", &EndpointOptions{Ports: publish("9000:90/sctp")})
	require.NoError(t, err)
	attach(t, b, "four", &EndpointOptions{Ports: append(publish("9001:90/sctp"), publish("127.0.0.1:9002-9003:90-91/sctp")...)})
	m.echoes(90)
	b1 := make([]byte, 10)
	for i, way := range []struct {
		from *machine
		to   string
	}{
		{host, "127.0.0.1:9000"}, {client, "10.1.0.2:9000"}, {host, "[::1]:9000"}, {host, "10.1.0.2:9000"}, {host, "[fd01::2]:9000"},
		{host, "[::1]:9001"}, {client, "[fd01::2]:9001"}, {host, "127.0.0.1:9002"},
	} {
		t.Log(way.to)
		c := way.from.associate(way.to)
		c.exchange(t, "one", messageInfo{stream: 3, payload: [4]byte{1, 2, 3, 4}})
		if i == 0 || i == 3 || i == 4 {
			host.paths()
		}
		c.exchange(t, "by whatever path", messageInfo{flags: unordered})
		if i > 1 {
			require.NoError(t, c.Close())
			continue
		}
		c.exchange(t, strings.Repeat("large", 40_000), messageInfo{stream: 9})
		require.NoError(t, c.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }))
		n, _, err := c.receive(&b1)
		require.NoError(t, err)
		require.Zero(t, n, "the end")

		c = way.from.associate(way.to)
		require.NoError(t, c.send([]byte("bye"), messageInfo{}))
		n, _, err = c.receive(&b1)
		require.NoError(t, err)
		require.Zero(t, n, "the other side's end")

		c = way.from.associate(way.to)
		require.NoError(t, c.send([]byte("reset"), messageInfo{}))
		_, _, err = c.receive(&b1)
		require.ErrorIs(t, err, unix.ECONNRESET)
	}
	_, _, err = host.associate("127.0.0.1:9003").receive(&b1)
	require.ErrorIs(t, err, unix.ECONNRESET, "nobody listens in the container")

	c := host.associate("127.0.0.1:9000")
	c.exchange(t, "still there", messageInfo{})
	require.NoError(t, b.Detach(t.Context(), "both"))
	n, _, err := c.receive(&b1)
	require.True(t, n == 0 || errors.Is(err, unix.ECONNRESET), "%d %v", n, err)
	require.NoError(t, s.Check(t.Context()))
}
