package usernet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/network"
	"github.com/stretchr/testify/require"
)

const streamed = 4 << 20

// stuff is what the side sends.
func stuff(side byte) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{side}), streamed) }

// send sends the side's stuff and its end.
func send(c net.Conn, side byte) error {
	if _, err := io.Copy(c, stuff(side)); err != nil {
		return err
	}
	return c.(*net.TCPConn).CloseWrite()
}

// receive wants the side's stuff and its end.
func receive(c net.Conn, side byte) error {
	want, got := sha256.New(), sha256.New()
	_, _ = io.Copy(want, stuff(side))
	n, err := io.Copy(got, c)
	if err == nil && !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		err = fmt.Errorf("%d bytes, of %d, that are not what was sent", n, streamed)
	}
	return err
}

// transfer sends from one to the other, which answers when it has seen the end.
func transfer(t *testing.T, listen func(func() error) error, at string, dial func(func() error) error, to string) {
	t.Helper()
	var l net.Listener
	require.NoError(t, listen(func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	}))
	defer l.Close()
	answered := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			err = errors.Join(receive(c, 1), send(c, 2))
		}
		answered <- err
	}()
	require.NoError(t, dial(func() error {
		c, err := net.DialTimeout("tcp", to, 30*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		return errors.Join(send(c, 1), receive(c, 2))
	}), to)
	require.NoError(t, <-answered)
}

// TestStream: what is sent arrives whole, both ways, and the end of one way is passed on: from a container to the host and by a published port
// to it, and between containers, in packets of all sizes.
func TestStream(t *testing.T) {
	a4, a6 := hostAddr(t)
	s := newStore(t)
	for _, mtu := range []int{0, 1280} {
		name := fmt.Sprint("mtu", mtu)
		_, err := s.Create(t.Context(), name, &network.CreateOptions{MTU: mtu, IPv6: true})
		require.NoError(t, err)
		a, b := newBox(t, s, network.SandboxOptions{ID: name + "a"}), newBox(t, s, network.SandboxOptions{ID: name + "b"})
		a.attach(name, nil)
		e := b.attach(name, &network.EndpointOptions{Ports: []network.Port{{Container: 80}}})
		published := strconv.Itoa(int(e.Ports[0].Host))
		for _, at := range []string{a4 + ":7200", "[" + a6 + "]:7200"} {
			transfer(t, here, at, a.in, at)
		}
		for _, to := range []netip.Addr{e.IPv4.Addr(), e.IPv6.Addr()} {
			transfer(t, b.in, ":80", a.in, netip.AddrPortFrom(to, 80).String())
		}
		for _, to := range []string{a4, a6, "127.0.0.1"} {
			transfer(t, b.in, ":80", here, net.JoinHostPort(to, published))
		}
	}
}

// TestStreamBroken: an end that goes in the midst of a transfer is told to the other one, whichever sends, and so is the sandbox's.
func TestStreamBroken(t *testing.T) {
	a4, _ := hostAddr(t)
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	l, err := net.Listen("tcp", a4+":0")
	require.NoError(t, err)
	defer l.Close()
	b := newBox(t, s, network.SandboxOptions{ID: "box"})
	b.attach("net", nil)
	connect := func() (inside, outside *net.TCPConn) {
		require.NoError(t, b.in(func() error {
			c, err := net.DialTimeout("tcp", l.Addr().String(), 30*time.Second)
			if err == nil {
				inside = c.(*net.TCPConn)
			}
			return err
		}))
		c, err := l.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = inside.Close(), c.Close() })
		return inside, c.(*net.TCPConn)
	}
	endless := func(c *net.TCPConn) (ended chan error) {
		ended = make(chan error, 1)
		go func() {
			_, err := io.Copy(c, rand.NewChaCha8([32]byte{}))
			ended <- err
		}()
		return ended
	}
	broken := func(what string, ended chan error) {
		t.Helper()
		select {
		case err := <-ended:
			require.Error(t, err, what)
		case <-time.After(time.Minute):
			t.Fatal(what, "did not hear of it")
		}
	}
	for _, what := range []string{"inside", "outside"} {
		from, to := connect()
		if what == "outside" {
			from, to = to, from
		}
		ended := endless(from)
		_, err := io.CopyN(io.Discard, to, 1<<20)
		require.NoError(t, err)
		require.NoError(t, to.SetLinger(0))
		require.NoError(t, to.Close())
		broken(what, ended)
	}
	inside, outside := connect()
	ended := endless(outside)
	_, err = io.CopyN(io.Discard, inside, 1<<20)
	require.NoError(t, err)
	require.NoError(t, b.Detach(t.Context(), "net"))
	broken("outside, of the sandbox's end", ended)
}

// TestStreamDeadline: a deadline ends what io.Copy moves, whichever way, when it comes and when it is set meanwhile; without one it goes on.
func TestStreamDeadline(t *testing.T) {
	m := New()
	s, err := network.Open(t.TempDir(), &network.Options{UserMode: m})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	n, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	b := newBox(t, s, network.SandboxOptions{ID: "box"})
	at := netip.AddrPortFrom(b.attach("net", nil).IPv4.Addr(), 80)
	link := m.wires[n.ID].port(at.Addr())
	var silent net.Listener
	require.NoError(t, b.in(func() (err error) {
		silent, err = net.Listen("tcp", ":80") // nobody reads what it accepts
		return err
	}))
	defer silent.Close()
	there, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer there.Close()
	socket := func(endless bool) net.Conn {
		c, err := net.Dial("tcp", there.Addr().String())
		require.NoError(t, err)
		peer, err := there.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = c.Close(), peer.Close() })
		if endless {
			go func() { _, _ = io.Copy(peer, rand.NewChaCha8([32]byte{})) }()
		}
		return c
	}
	for _, write := range []bool{false, true} {
		for _, when := range []string{"before", "meanwhile", "over"} {
			what := fmt.Sprint("write ", write, ", set ", when)
			c, err := link.Dial(t.Context(), "tcp", netip.Addr{}, at)
			require.NoError(t, err)
			require.IsType(t, &stream{}, c)
			switch when {
			case "before":
				require.NoError(t, c.SetDeadline(time.Now().Add(50*time.Millisecond)))
			case "over":
				require.NoError(t, c.SetDeadline(time.Now().Add(-time.Second)))
			}
			other, ended := socket(write), make(chan error, 1)
			go func() {
				var err error
				if write {
					_, err = io.Copy(c, other)
				} else {
					_, err = io.Copy(other, c)
				}
				ended <- err
			}()
			if when == "meanwhile" {
				require.NoError(t, c.SetDeadline(time.Now().Add(time.Hour)))
				require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Millisecond)))
			}
			select {
			case err := <-ended:
				require.ErrorIs(t, err, os.ErrDeadlineExceeded, what)
			case <-time.After(time.Minute):
				t.Fatal(what, "went on")
			}
			require.NoError(t, c.Close())
		}
	}
}
