package container_test

import (
	"context"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestEvents(t *testing.T) {
	c := newContainer(t, "trap")
	c.Memory, c.MemorySwap = 64<<20, 64<<20
	for _, err := range c.Events(t.Context()) {
		require.Error(t, err, "not started")
	}
	ready(t, c)
	told := make(chan []cgroups.EventKind)
	go func() {
		var kinds []cgroups.EventKind
		for e, err := range c.Events(context.Background()) {
			if err != nil {
				t.Error(err)
			}
			kinds = append(kinds, e.Kind)
		}
		told <- kinds
	}()
	var exit *container.ExitError
	require.ErrorAs(t, c.Command("hog", "200").Run(t.Context()), &exit)
	require.True(t, exit.OOMKilled)

	// Who comes later is told too, and leaves when he likes.
	late := 0
	for e, err := range c.Events(t.Context()) {
		require.NoError(t, err)
		if late++; e.Kind == cgroups.OOMKill {
			break
		}
	}
	require.Positive(t, late)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	var last error
	for _, err := range c.Events(ctx) {
		last = err
	}
	require.ErrorIs(t, last, context.DeadlineExceeded)

	require.NoError(t, c.Kill())
	_ = c.Wait(t.Context())
	kinds := <-told
	require.Contains(t, kinds, cgroups.OOM)
	require.Equal(t, 1, len(slices.DeleteFunc(kinds, func(k cgroups.EventKind) bool { return k != cgroups.OOMKill })))
	for _, err := range c.Events(t.Context()) {
		require.ErrorIs(t, err, os.ErrProcessDone)
	}
}

// TestOOMOfInitEndsCommands: a command that dies with the container's first process, which the OOM killer ended.
func TestOOMOfInitEndsCommands(t *testing.T) {
	c := newContainer(t, "read-hog", "200")
	c.Memory, c.MemorySwap = 64<<20, 64<<20
	in, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	p := c.Command("sleep", "1h")
	require.NoError(t, p.Start(t.Context()))
	killed := c.Command("sleep", "1h")
	require.NoError(t, killed.Start(t.Context()))
	require.NoError(t, killed.Kill())
	var exit *container.ExitError
	require.ErrorAs(t, killed.Wait(t.Context()), &exit)
	require.False(t, exit.OOMKilled, "the OOM killer had not come")
	_, err = in.Write([]byte("go\n"))
	require.NoError(t, err)
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.True(t, exit.OOMKilled)
	require.ErrorAs(t, p.Wait(t.Context()), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.True(t, exit.OOMKilled)
}

// TestOOMOfGroupKillsAll: v2's memory.oom.group, by a command's fault.
func TestOOMOfGroupKillsAll(t *testing.T) {
	if cgroupMode(t) != cgroups.V2 {
		t.Skip("needs a pure cgroup v2 host")
	}
	c := newContainer(t, "trap")
	c.Memory, c.MemorySwap, c.Resources = 64<<20, 64<<20, &cgroups.Resources{OOMGroup: true}
	ready(t, c)
	p := c.Command("sleep", "1h")
	require.NoError(t, p.Start(t.Context()))
	for _, err := range []error{c.Command("hog", "200").Run(t.Context()), p.Wait(t.Context()), c.Wait(t.Context())} {
		var exit *container.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, syscall.SIGKILL, exit.Signal)
		require.True(t, exit.OOMKilled)
	}
	require.GreaterOrEqual(t, c.State.Cgroup.Memory.OOMKills, uint64(3))
}

func cgroupMode(t testing.TB) cgroups.Mode {
	t.Helper()
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	return m.Mode()
}

// TestOOMByLimitAbove: the limit is on the group above the container's, which has none itself.
func TestOOMByLimitAbove(t *testing.T) {
	testenv.RequireRoot(t)
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	above, err := m.Create(testenv.CgroupName(t), &cgroups.Resources{Memory: 64 << 20, MemorySwap: 64 << 20})
	require.NoError(t, err)
	defer above.Close()
	defer func() { require.NoError(t, above.Remove()) }()

	c := newContainer(t, "trap")
	c.Cgroup = above.Name() + "/c"
	ready(t, c)
	var exit *container.ExitError
	require.ErrorAs(t, c.Command("hog", "200").Run(t.Context()), &exit)
	require.True(t, exit.OOMKilled)
	p := c.Command("sleep", "1h")
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, p.Kill())
	require.ErrorAs(t, p.Wait(t.Context()), &exit)
	require.False(t, exit.OOMKilled, "the OOM killer came before it")
	require.NoError(t, c.Kill())
	_ = c.Wait(t.Context())
	require.True(t, c.State.OOMKilled, "of the container it is true if any process was killed")
}
