package cgroups

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// newV1Manager detects as if the unified hierarchy were not mounted, or skips on a host without v1.
func newV1Manager(t testing.TB) *Manager {
	t.Helper()
	if m := newManager(t); m.Mode() == V2 {
		t.Skip("needs controllers mounted as cgroup v1")
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	group, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	var lines []string
	for l := range strings.Lines(string(mountinfo)) {
		if !strings.Contains(l, " - cgroup2 ") {
			lines = append(lines, l)
		}
	}
	m := &Manager{}
	t.Cleanup(func() { _ = m.Close() })
	require.NoError(t, m.detect([]byte(strings.Join(lines, "")), group))
	require.Equal(t, V1, m.Mode())
	return m
}

func TestV1Freeze(t *testing.T) {
	m := newV1Manager(t)
	g := newGroup(t, m, nil)
	newHelper(t, g, "cg-burn")
	require.NoError(t, g.Freeze(t.Context()))
	frozen, err := g.Frozen()
	require.NoError(t, err)
	require.True(t, frozen)
	s, err := g.Stats()
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond)
	after, err := g.Stats()
	require.NoError(t, err)
	require.Less(t, after.CPU.Usage-s.CPU.Usage, 5*time.Millisecond)
	require.Nil(t, s.CPUPressure)
	require.NoError(t, g.Thaw())
	require.Eventually(t, func() bool {
		s, err := g.Stats()
		return err == nil && s.CPU.Usage > after.CPU.Usage
	}, time.Minute, 5*time.Millisecond)
}

func TestV1KillFrozenAndNested(t *testing.T) {
	m := newV1Manager(t)
	top := testenv.CgroupName(t)
	inner, err := m.Create(top+"/inner", nil)
	require.NoError(t, err)
	cleanGroup(t, inner)
	outer, err := m.Open(top)
	require.NoError(t, err)
	defer outer.Close()
	h := newHelper(t, inner, "cg-sleep")
	require.NoError(t, outer.Freeze(t.Context()))
	require.NoError(t, outer.Kill(t.Context()))
	require.Equal(t, syscall.SIGKILL, h.wait())
}

// TestV1KillForkBomb kills a group whose processes fork as fast as they can.
func TestV1KillForkBomb(t *testing.T) {
	m := newV1Manager(t)
	testenv.ReapOrphans(t)
	g := newGroup(t, m, &Resources{Pids: 300})
	h := newHelper(t, g, "cg-forker")
	h.say("go")
	require.Eventually(t, func() bool {
		pids, err := g.Pids()
		return err == nil && len(pids) > 20
	}, time.Minute, time.Millisecond) // it shares the processors with them
	require.NoError(t, g.Kill(t.Context()))
	pids, err := g.Pids()
	require.NoError(t, err)
	require.Empty(t, pids)
}

// TestKillEscaped: a process has left the group in the unified hierarchy, where cgroup.kill would find it.
func TestKillEscaped(t *testing.T) {
	m := newManager(t)
	if m.Mode() != Hybrid {
		t.Skip("needs a host with cgroup v1 and v2")
	}
	g := newGroup(t, m, nil)
	h := newHelper(t, g, "cg-sleep")
	require.NoError(t, os.WriteFile(filepath.Join(m.unified.path, "cgroup.procs"), []byte(itoa(int64(h.pid()))), 0))
	pids, err := g.Pids()
	require.NoError(t, err)
	require.Equal(t, []int{h.pid()}, pids)
	require.NoError(t, g.Kill(t.Context()))
	require.Equal(t, syscall.SIGKILL, h.wait())
}
