package container_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

// parentOf is the parent of a process.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	n := 0
	_, err = fmt.Sscanf(string(b)[strings.Index(string(b), "PPid:"):], "PPid: %d", &n)
	require.NoError(t, err)
	return n
}

// The keeper is in a control group of its own: it is not frozen with the container, nor killed by the end of that for want
// of memory, and it goes with the container's group.
func TestKeepersGroup(t *testing.T) {
	root, dir, group := leave(t, "cat")
	c := kept(root, dir, group, "cat")
	require.NoError(t, c.Adopt(t.Context()))
	keeper := parentOf(t, c.Pid())
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	g, err := m.Open(group + ".keeper")
	require.NoError(t, err)
	defer g.Close()
	pids, err := g.Pids()
	require.NoError(t, err)
	require.Equal(t, []int{keeper}, pids)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", keeper))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); f[2] != "/" {
			require.True(t, strings.HasSuffix(f[2], group+".keeper"), line)
		}
	}
	// It answers while the container is frozen.
	require.NoError(t, c.Pause(t.Context()))
	in, err := c.Input(t.Context())
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.NoError(t, c.Resume())
	require.NoError(t, c.Kill())
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	for _, dir := range g.Paths() {
		require.NoDirExists(t, dir)
	}
}

// A start that fails leaves no group of a keeper.
func TestKeepersGroupUndone(t *testing.T) {
	_, dir, group := leave(t, "exit", "0")
	logged(t, dir)
	c := kept(t.TempDir(), t.TempDir(), group+"-2", "nothing")
	require.Error(t, c.Start(context.Background()))
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	_, err = m.Open(group + "-2.keeper")
	require.ErrorIs(t, err, os.ErrNotExist)
	d := kept(t.TempDir(), dir, group, "exit", "0")
	require.NoError(t, d.Adopt(t.Context()))
	require.NoError(t, d.Wait(t.Context()))
}
