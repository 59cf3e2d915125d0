package network

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServe: another process takes over what one attached that is gone: names, and ports by loopback.
func TestServe(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	m, pid, _ := startBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: "left"})
	require.NoError(t, err)
	m.serve(80)
	e := attach(t, b, "net", &EndpointOptions{Names: []string{"left"}, Ports: []Port{{Host: 8080, Container: 80}}})
	asks := func() string { return m.dig("left") }
	want := e.IPv4.Addr().String() + "\n"
	require.Equal(t, want, asks())
	b.Forget()
	_, _, err = m.query(enough, "left")
	require.Error(t, err)
	host.cannot("tcp", "127.0.0.1:8080")

	next, err := Open(s.docs.Dir, &s.o)
	require.NoError(t, err)
	defer func() { require.NoError(t, next.Close()) }()
	b, err = next.Sandbox(pid, &SandboxOptions{ID: "left"})
	require.NoError(t, err)
	require.NoError(t, b.Serve(t.Context()))
	require.NoError(t, b.Serve(t.Context()), "what it serves it leaves as it is")
	require.Equal(t, want, asks())
	host.sees("tcp", "127.0.0.1:8080", "172.17.0.1")
	client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Serve(t.Context()), os.ErrClosed)
	all, err := s.Endpoints("net")
	require.NoError(t, err)
	require.Empty(t, all)
}

// TestServeWithoutPorts: a port that is somebody else's meanwhile is named, and the rest is served; another call serves it when it is free.
func TestServeWithoutPorts(t *testing.T) {
	host, _, _ := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	m, pid, _ := startBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: "left"})
	require.NoError(t, err)
	attach(t, b, "net", &EndpointOptions{Names: []string{"left"}, Ports: []Port{{Host: 8080, Container: 80}}})
	b.Forget()
	m.serve(80)
	stop := host.serve(8080)
	b, err = s.Sandbox(pid, &SandboxOptions{ID: "left"})
	require.NoError(t, err)
	for range 2 {
		require.ErrorIs(t, b.Serve(t.Context()), ErrPortInUse)
		require.NotEmpty(t, m.dig("left"))
	}
	stop()
	require.NoError(t, b.Serve(t.Context()))
	host.sees("tcp", "127.0.0.1:8080", "172.17.0.1")
	require.NoError(t, b.Close())
}
