package cgroups

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func groupDescriptors(t *testing.T, g *Group) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(target, g.Name()) {
			n++
		}
	}
	return n
}

// TestCloseTasksOfMany: the groups of a program that has many hold no descriptors, and work as before. One that is gone is
// gone, whatever has its name now.
func TestCloseTasksOfMany(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{Pids: 100})
	_, _, err := g.Entry()
	require.NoError(t, err)
	require.Greater(t, groupDescriptors(t, g), len(m.hierarchies))
	g.CloseTasks()
	require.Equal(t, len(m.hierarchies), groupDescriptors(t, g), "one of a few")
	m.groups.Add(restAbove)
	defer m.groups.Add(-restAbove)
	g.CloseTasks()
	require.Zero(t, groupDescriptors(t, g))
	s, err := g.Stats()
	require.NoError(t, err)
	require.Equal(t, int64(100), s.Pids.Limit)
	require.Positive(t, groupDescriptors(t, g))
	g.CloseTasks()
	require.Zero(t, groupDescriptors(t, g))
	require.NoError(t, g.Update(&Resources{Pids: 50}))
	h := newHelper(t, g, "cg-hog", "1")
	h.say("go")
	require.Equal(t, "done", h.line())
	pids, err := g.Pids()
	require.NoError(t, err)
	require.NotEmpty(t, pids)

	gone, err := m.Create(testenv.CgroupName(t), nil)
	require.NoError(t, err)
	gone.CloseTasks()
	require.Zero(t, groupDescriptors(t, gone))
	require.NoError(t, gone.Remove())
	_, _, err = gone.Entry()
	require.ErrorIs(t, err, fs.ErrNotExist)
	other, err := m.Create(gone.Name(), nil)
	require.NoError(t, err)
	cleanGroup(t, other)
	_, _, err = gone.Entry()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, gone.Close())
}
