package usernet

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// TestKilled: what somebody who was killed while he changed a network's endpoints has left is mended in user mode, too.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	s, err := network.Open(dir, &network.Options{UserMode: New()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	newBox(t, s, network.SandboxOptions{ID: "box"}).attach("net", nil)
	require.NoError(t, s.Check(t.Context()))
	seq := filepath.Join(dir, "net", "endpoints", ".seq")
	b, err := os.ReadFile(seq)
	require.NoError(t, err)
	n := binary.LittleEndian.Uint64(b)
	require.Zero(t, n%2)
	require.NoError(t, os.WriteFile(seq, binary.LittleEndian.AppendUint64(nil, n|1), 0o600))
	require.ErrorContains(t, s.Check(t.Context()), "somebody was killed")
	require.NoError(t, s.Repair(t.Context()))
	require.NoError(t, s.Check(t.Context()))
}
