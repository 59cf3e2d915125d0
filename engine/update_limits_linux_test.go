package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Limits that a start would refuse are refused when they are set, and -1 lifts them.
func TestUpdateKeepsContainerStartable(t *testing.T) {
	e := newEngine(t)
	rec := detached(t, e, &Config{Memory: 64 << 20, MemorySwap: 64 << 20}, "sleep 60")
	c := rec.ID
	require.NoError(t, e.Stop(t.Context(), c, 0))
	for _, u := range []*Update{{Memory: 128 << 20}, {CPUs: 1e6}, {MemorySwap: 32 << 20}, {Memory: -1}} {
		require.Error(t, e.Update(t.Context(), c, u))
	}
	require.NoError(t, e.Update(t.Context(), c, &Update{Memory: -1, MemorySwap: -1, MemoryReservation: -1, PidsLimit: -1, CPUQuota: -1}))
	require.NoError(t, e.Restart(t.Context(), c, 0))
	require.NoError(t, e.Remove(t.Context(), c, &RemoveOptions{Force: true}))
}
