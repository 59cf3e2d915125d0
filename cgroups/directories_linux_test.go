package cgroups

import (
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestDirectories: what is told before a group is made is what is made, and suffices to find it.
func TestDirectories(t *testing.T) {
	m := newManager(t)
	for _, path := range []string{testenv.CgroupName(t), "/" + testenv.CgroupName(t) + "/x"} {
		dirs, err := m.Directories(path)
		require.NoError(t, err)
		for _, dir := range dirs {
			require.NoDirExists(t, dir)
		}
		g, err := m.Create(path, nil)
		require.NoError(t, err)
		cleanGroup(t, g)
		var leaves []string
		for _, n := range g.nodes {
			leaves = append(leaves, n.leaf)
		}
		require.Equal(t, leaves, dirs)

		byController := g.ByController()
		for _, c := range m.Controllers() {
			if dir, ok := byController[c]; ok {
				require.Contains(t, dirs, dir)
			} else {
				require.Contains(t, m.unified.available, c)
			}
		}
		if m.unified != nil {
			require.Contains(t, dirs, byController[""])
		}
	}
	_, err := m.Directories("../x")
	require.Error(t, err)
}

func TestSignal(t *testing.T) {
	g := newGroup(t, newManager(t), nil)
	a, b := newHelper(t, g, "cg-sleep"), newHelper(t, g, "cg-sleep")
	pids, err := g.Pids()
	require.NoError(t, err)
	want := []int{a.pid(), b.pid()}
	slices.Sort(want)
	require.Equal(t, want, pids)
	require.NoError(t, g.Signal(syscall.SIGTERM))
	a.wait()
	b.wait()
	require.NoError(t, g.Signal(syscall.SIGTERM), "to nobody")
}
