package cgroups

import (
	"os"
	"syscall"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// TestTotals: they agree with Stats on what both tell.
func TestTotals(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{Memory: 64 << 20, MemorySwap: 64 << 20, Pids: 100})
	h := newHelper(t, g, "cg-hog", "200")
	h.say("go")
	require.Equal(t, syscall.SIGKILL, h.wait())
	total, err := g.Totals()
	require.NoError(t, err)
	all, err := g.Stats()
	require.NoError(t, err)
	require.Positive(t, total.Memory.OOMKills)
	require.Equal(t, all.Memory.OOMKills, total.Memory.OOMKills)
	require.Equal(t, all.Memory.LimitHits, total.Memory.LimitHits)
	require.InDelta(t, 64<<20, total.Memory.Peak, 4<<20)
	require.Equal(t, all.Memory.Peak, total.Memory.Peak)
	require.Positive(t, total.CPU.Usage)
	require.InDelta(t, all.CPU.Usage, total.CPU.Usage, 50e6)
	require.Equal(t, all.Pids.Refused, total.Pids.Refused)
	closed, err := m.Create(testenv.CgroupName(t), nil)
	require.NoError(t, err)
	require.NoError(t, closed.Remove())
	require.NoError(t, closed.Close())
	_, err = closed.Totals()
	require.ErrorIs(t, err, os.ErrClosed)
}
