package usernet

import (
	"io"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

var method = regexp.MustCompile(`/usernet\.\(\*port\)\.(\w+)`)

// atWork returns the methods of ports that goroutines are in, each once.
func atWork() (all []string) {
	b := make([]byte, 1<<20)
	for n := runtime.Stack(b, true); n == len(b); n = runtime.Stack(b, true) {
		b = make([]byte, 2*len(b))
	}
	for _, m := range method.FindAllSubmatch(b, -1) {
		all = append(all, string(m[1]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestGoroutinesEndWithPort: when a container is detached, and when its sandbox is closed, no goroutine does anything for its port any
// more: not those of connections in the midst of a transfer, of silent ones, of sessions of datagrams, or of questions half asked.
func TestGoroutinesEndWithPort(t *testing.T) {
	a4, _ := hostAddr(t)
	s := newStore(t)
	n, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	l, err := net.Listen("tcp", a4+":0")
	require.NoError(t, err)
	defer l.Close()
	there, err := net.ListenPacket("udp", a4+":0") // never answers
	require.NoError(t, err)
	defer there.Close()
	for _, how := range []string{"detach", "close"} {
		require.Empty(t, atWork(), how)
		b := newBox(t, s, network.SandboxOptions{ID: how})
		e := b.attach("net", &network.EndpointOptions{Ports: []network.Port{{Container: 80}}})
		var inner net.Listener
		require.NoError(t, b.in(func() (err error) {
			inner, err = net.Listen("tcp", ":80")
			return err
		}))
		var mine []io.Closer
		dial := func(in func(func() error) error, protocol, at string) (c net.Conn) {
			require.NoError(t, in(func() (err error) {
				c, err = net.DialTimeout(protocol, at, 20*patience)
				return err
			}), at)
			mine = append(mine, c)
			return c
		}
		accept := func(l net.Listener) net.Conn {
			c, err := l.Accept()
			require.NoError(t, err)
			mine = append(mine, c)
			return c
		}
		gateway := net.JoinHostPort(n.Subnets[0].Gateway.String(), "53")
		dial(b.in, "tcp", l.Addr().String()) // silent
		accept(l)
		sends := dial(b.in, "tcp", l.Addr().String()) // to somebody who does not read
		accept(l)
		go func() { _, _ = io.Copy(sends, endless{}) }()
		_, err = dial(b.in, "udp", there.LocalAddr().String()).Write([]byte("?"))
		require.NoError(t, err)
		_, err = dial(b.in, "tcp", gateway).Write([]byte{0})
		require.NoError(t, err)
		_, err = dial(b.in, "udp", gateway).Write([]byte("?"))
		require.NoError(t, err)
		dial(here, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(e.Ports[0].Host))))
		accept(inner)
		all := []string{"resolvePackets", "resolveStream", "run", "session", "splice"}
		missing := func() []string {
			there := atWork()
			return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(there, name) })
		}
		for end := time.Now().Add(time.Minute); len(missing()) > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		require.Empty(t, missing())

		if how == "detach" {
			require.NoError(t, b.Detach(t.Context(), "net"))
		} else {
			require.NoError(t, b.Close())
		}
		require.Empty(t, atWork(), how)
		for _, c := range mine {
			_ = c.Close()
		}
		require.NoError(t, inner.Close())
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
