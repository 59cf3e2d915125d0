package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKeeperKilled: a container ends with its keeper, and that is written down at the next open; what it has printed is there, and it
// can be started again.
func TestKeeperKilled(t *testing.T) {
	e := newEngine(t)
	c := detached(t, e, &Config{Network: "none"}, "echo printed; exec sleep 600")
	up := func() string { return everything(t, e, c.ID) }
	require.Eventually(t, func() bool { return up() == "printed\n" }, time.Minute, 5*time.Millisecond)
	running := mustInspect(t, e, c)
	require.NotEmpty(t, running.State.Cgroups)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", running.State.Pid))
	require.NoError(t, err)
	_, parent, _ := strings.Cut(string(status), "PPid:\t")
	parent, _, _ = strings.Cut(parent, "\n")
	keeper, err := strconv.Atoi(parent)
	require.NoError(t, err)
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", keeper))
	require.NoError(t, err)
	require.Equal(t, "caisson-keep\n", string(name))
	p, err := running.process()
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(keeper, syscall.SIGKILL))
	require.Eventually(t, func() bool { return p.Signal(syscall.Signal(0)) != nil }, time.Minute, 5*time.Millisecond, "its process ends, too")
	require.NoError(t, p.Release())

	other, err := Open(t.Context(), e.dir, &e.options)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	was, err := readRecord(e.path(c.ID)) // nobody has looked since
	require.NoError(t, err)
	require.Equal(t, Exited, was.State.Status)
	require.Equal(t, 137, was.State.ExitCode)
	require.False(t, was.State.Finished.IsZero())
	for _, dir := range running.State.Cgroups {
		require.NoDirExists(t, dir)
	}
	require.Equal(t, "printed\n", up())
	again(t, other, c)
	require.NoError(t, other.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
}
