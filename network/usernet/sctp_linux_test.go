package usernet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// TestSCTPRefused: what the stack has no part of is refused, before there is a container, too.
func TestSCTPRefused(t *testing.T) {
	s := newStore(t)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	ports := []network.Port{{Container: 80}, {Container: 90, Protocol: "sctp"}}
	const why = "Ports: sctp is not passed on in user mode"
	_, err = s.Reserve(ports)
	require.ErrorIs(t, err, network.ErrInvalid)
	require.ErrorContains(t, err, why)
	b := newBox(t, s, network.SandboxOptions{ID: "box"})
	_, err = b.Attach(t.Context(), "net", &network.EndpointOptions{Ports: ports})
	require.ErrorContains(t, err, why)
	b.attach("net", nil)
	_, err = b.Publish(t.Context(), "net", ports)
	require.ErrorIs(t, err, network.ErrInvalid)
	require.ErrorContains(t, err, why)
}
