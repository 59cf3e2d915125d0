package network

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestForget: what a process leaves attached goes on without it, and its ports stay its own until the sandbox dies.
func TestForget(t *testing.T) {
	host, _, client := world(t)
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	m, pid, end := startBox(t)
	b, err := s.Sandbox(pid, &SandboxOptions{ID: "left", NoResolver: true})
	require.NoError(t, err)
	stop := m.serve(80)
	attach(t, b, "net", &EndpointOptions{Ports: []Port{{Host: 8080, Container: 80}}})
	b.Forget()
	client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
	host.cannot("tcp", "127.0.0.1:8080")
	other, _ := newSandbox(t, s, "other")
	_, err = other.Attach(t.Context(), "net", &EndpointOptions{Ports: []Port{{Host: 8080, Container: 81}}})
	require.ErrorIs(t, err, ErrPortInUse)
	client.sees("tcp", "10.1.0.2:8080", "10.2.0.2")
	stop()
	end()
	require.Eventually(t, func() bool {
		_, err = other.Attach(t.Context(), "net", &EndpointOptions{Ports: []Port{{Host: 8080, Container: 81}}})
		return err == nil
	}, 10*patience, patience/50)
	require.NoError(t, s.Check(t.Context()))
}
