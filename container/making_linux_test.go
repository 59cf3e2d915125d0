package container_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

// TestGroupMadeMeanwhile: from the second container on the control group is made while the process is. What can go wrong
// with it is an error of Start as before, and leaves nothing.
func TestGroupMadeMeanwhile(t *testing.T) {
	for range 3 {
		c := newContainer(t, "echo", "hello")
		c.Memory, c.PidsLimit = 64<<20, 100
		require.NoError(t, c.Run(t.Context()))
		require.Empty(t, groupFolders([]string{c.Cgroup}))
		require.Positive(t, c.State.Cgroup.Memory.Peak)
	}
	for i := range 6 {
		c := newContainer(t, "echo", "hello")
		if i%2 == 1 {
			c.UIDMappings, c.GIDMappings = idMaps, idMaps
		}
		c.CpusetCPUs = "1000" // found out when all groups are made
		err := c.Run(t.Context())
		var start *container.StartError
		require.ErrorAs(t, err, &start)
		require.Equal(t, "limit CpusetCPUs", start.Step, err)
		require.Empty(t, groupFolders([]string{c.Cgroup}))
	}
}

// TestGroupMadeMeanwhileIsThere: a group of the name, in one of the hierarchies only, is another's and stays.
func TestGroupMadeMeanwhileIsThere(t *testing.T) {
	warm := newContainer(t, "echo", "hello")
	require.NoError(t, warm.Run(t.Context()))
	own, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		dir := "/sys/fs/cgroup/" + strings.TrimPrefix(f[1], "name=")
		if f[1] == "" {
			dir = "/sys/fs/cgroup/unified"
		}
		c := newContainer(t, "echo", "hello")
		group := dir + f[2] + "/" + c.Cgroup
		if os.Mkdir(group, 0o755) != nil {
			continue // mounted elsewhere
		}
		err := c.Run(t.Context())
		var start *container.StartError
		require.ErrorAs(t, err, &start)
		require.Equal(t, "create control group", start.Step)
		require.ErrorIs(t, err, fs.ErrExist)
		require.DirExists(t, group)
		require.NoError(t, os.Remove(group))
		require.Empty(t, groupFolders([]string{c.Cgroup}))
	}
}
