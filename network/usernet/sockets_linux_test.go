package usernet

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// testSockets connects and listens in a box, whose own address is given.
func testSockets(ctx context.Context, b *network.Sandbox, own string) error {
	for _, protocol := range []string{"tcp", "udp"} {
		for _, at := range [][2]string{{"127.0.0.1:81", "127.0.0.1:81"}, {":82", own + ":82"}, {":83", "localhost:83"}} {
			if err := testSocket(ctx, b, protocol, at[0], at[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func testSocket(ctx context.Context, b *network.Sandbox, protocol, at, to string) error {
	const text = "hello"
	var end io.Closer
	if protocol == "tcp" {
		l, err := b.Listen(ctx, "tcp", at)
		if err != nil {
			return err
		}
		end = l
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}()
	} else {
		l, err := b.ListenPacket(ctx, "udp", at)
		if err != nil {
			return err
		}
		end = l
		go func() {
			if _, from, err := l.ReadFrom(make([]byte, 10)); err == nil {
				_, _ = l.WriteTo([]byte(text), from)
			}
		}()
	}
	defer end.Close()
	c, err := b.Dial(ctx, protocol, to)
	if err != nil {
		return err
	}
	defer c.Close()
	if protocol == "udp" {
		if _, err := c.Write([]byte("?")); err != nil {
			return err
		}
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// TestSockets: the host's Go code listens and connects in a sandbox as a program there does.
func TestSockets(t *testing.T) {
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", &network.CreateOptions{IPv6: true})
	require.NoError(t, err)
	web, db := newBox(t, s, network.SandboxOptions{ID: "web"}), newBox(t, s, network.SandboxOptions{ID: "db"})
	web.attach("net", &network.EndpointOptions{Names: []string{"web"}})
	e := db.attach("net", nil)
	require.NoError(t, testSockets(t.Context(), web.Sandbox, "10.250.0.2"))
	// What listens there is the sandbox's: its neighbours reach it, by both families, and this machine does not.
	l, err := web.Listen(t.Context(), "tcp", ":84")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, hostOf(c.RemoteAddr()))
			_ = c.Close()
		}
	}()
	db.sees("tcp", "10.250.0.2:84", "10.250.0.3")
	web6, err := web.Endpoints()
	require.NoError(t, err)
	db.sees("tcp", net.JoinHostPort(web6[0].IPv6.Addr().String(), "84"), e.IPv6.Addr().String())
	_, err = net.Dial("tcp", "127.0.0.1:84")
	require.Error(t, err)
	_, err = web.Listen(t.Context(), "tcp", ":84")
	require.ErrorContains(t, err, "listen tcp: bind: address already in use")
	_, err = web.Dial(t.Context(), "tcp", "10.250.0.2:85")
	require.ErrorContains(t, err, "dial tcp 10.250.0.2:85: connect: connection refused")
	_, err = web.Listen(t.Context(), "tcp4", "10.250.0.3:84")
	require.ErrorContains(t, err, "cannot assign requested address")
	_, err = web.Dial(t.Context(), "tcp6", "10.250.0.2:84")
	require.ErrorContains(t, err, "the other family")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = web.Dial(ctx, "tcp", "10.250.0.2:84")
	require.ErrorIs(t, err, context.Canceled)
}
