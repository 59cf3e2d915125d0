package network

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPublishLater: ports that one network published are published by another that the sandbox is attached to, under the same numbers, with
// all that is published at once; and a step that fails leaves all as it was.
func TestPublishLater(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	for _, name := range []string{"front", "back", "inner"} {
		_, err := s.Create(t.Context(), name, &CreateOptions{IPv6: name == "back", Internal: name == "inner"})
		require.NoError(t, err)
	}
	b, m := newSandbox(t, s, "server")
	m.serve(80)
	first := attach(t, b, "front", &EndpointOptions{Ports: []Port{
		{Host: 8080, Container: 80}, {Host: 8080, Container: 80, Protocol: "udp"}, {Container: 80},
	}})
	second := attach(t, b, "back", nil)
	attach(t, b, "inner", nil)
	_, err := b.Publish(t.Context(), "front", []Port{{Container: 80}})
	require.ErrorIs(t, err, ErrExists)
	client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
	require.NoError(t, b.Detach(t.Context(), "front"))
	client.cannot("tcp", "10.1.0.2:8080")
	for network, want := range map[string]error{"front": ErrNotFound, "inner": ErrInvalid, "nosuch": ErrNotFound, "a/b": ErrName} {
		_, err := b.Publish(t.Context(), network, first.Ports)
		require.ErrorIs(t, err, want, network)
		require.ErrorContains(t, err, "publish ports of server by network "+network)
	}
	taken, err := s.Reserve(first.Ports[2:])
	require.NoError(t, err)
	_, err = b.Publish(t.Context(), "back", first.Ports)
	require.ErrorIs(t, err, ErrPortInUse)
	taken.Close()
	// The rules cannot be changed.
	h, err := s.openHost()
	require.NoError(t, err)
	fd := h.rules.fd
	h.rules.fd = -1
	_, err = b.Publish(t.Context(), "back", first.Ports)
	h.rules.fd = fd
	require.ErrorContains(t, err, "change nftables")
	all, err := b.Endpoints()
	require.NoError(t, err)
	require.Equal(t, second, all[0])
	require.NoError(t, s.Check(t.Context()))

	e, err := b.Publish(t.Context(), "back", first.Ports)
	require.NoError(t, err)
	require.Equal(t, first.Ports, e.Ports)
	for _, network := range []string{"tcp", "udp"} {
		client.sees(network, "10.1.0.2:8080", "10.2.0.2")
		host.sees(network, "127.0.0.1:8080", "172.18.0.1")
		m.sees(network, "10.1.0.2:8080", "172.18.0.1")
	}
	client.sees("tcp", "[fd01::2]:8080", "fd02::2")
	require.NoError(t, s.Check(t.Context()))
	again, err := b.Endpoints()
	require.NoError(t, err)
	require.Equal(t, e, again[0])
	require.NoError(t, b.Detach(t.Context(), "back"))
	client.cannot("tcp", "10.1.0.2:8080")
	require.NoError(t, s.Check(t.Context()))
	r, err := s.Reserve(first.Ports)
	require.NoError(t, err)
	r.Close()
	require.NoError(t, b.Close())
	_, err = b.Publish(t.Context(), "inner", first.Ports)
	require.ErrorIs(t, err, os.ErrClosed)
}
