package engine

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// The power goes off: what was on disk then is looked at after another boot, in which other processes have the
// containers' numbers. Each end is known, exactly if the keeper could write it down; logs are there; all can be started again.
func TestPowerOff(t *testing.T) {
	before := newEngine(t)
	ended := detached(t, before, &Config{Name: "ended"}, "echo ended; exit 9")
	require.Eventually(t, func() bool { // its keeper has written that down, and nobody has looked
		l, held, err := durable.TryAcquire(before.path(ended.ID, "lock"), true)
		require.NoError(t, err)
		if held {
			return false
		}
		return l.Close() == nil
	}, time.Minute, 10*time.Millisecond)
	runs := detached(t, before, &Config{Name: "runs", Image: ended.Config.Image},
		"echo started; [ -e /seen ] && exit 4; touch /seen; exec sleep 1000")
	require.Eventually(t, func() bool {
		r, err := before.Log(t.Context(), runs.ID)
		require.NoError(t, err)
		defer r.Close()
		f, err := r.Next()
		return err == nil && string(f.Data) == "started\n"
	}, time.Minute, 10*time.Millisecond)

	disk := filepath.Join(t.TempDir(), "disk")
	out, err := exec.Command("cp", "-a", before.Root(), disk).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, before.Remove(t.Context(), runs.ID, &RemoveOptions{Force: true}))
	require.NoError(t, before.Remove(t.Context(), ended.ID, nil))

	other := exec.Command("sleep", "1000")
	require.NoError(t, other.Start())
	defer func() {
		require.NoError(t, other.Process.Kill())
		_ = other.Wait()
	}()
	after := &Engine{dir: disk}
	for _, same := range []bool{false, true} { // as to when the process started; the boot is another one
		c, err := readRecord(after.path(runs.ID))
		require.NoError(t, err)
		c.State.Pid, c.State.BootID = other.Process.Pid, "00000000-0000-0000-0000-000000000000"
		if same {
			c.State.StartTime, err = startTime(other.Process.Pid)
			require.NoError(t, err)
		}
		require.NoError(t, after.write(c))
		e, err := Open(t.Context(), disk, &before.options)
		require.NoError(t, err)
		c, err = e.Inspect(t.Context(), "runs")
		require.NoError(t, err)
		require.Equal(t, Exited, c.State.Status)
		require.Equal(t, 137, c.State.ExitCode)
		require.NoError(t, e.Close())
		if !same { // as it was
			c.State.Status, c.State.Detached = Running, true
			require.NoError(t, after.write(c))
		}
	}
	require.NoError(t, other.Process.Signal(syscall.Signal(0)), "another process of that number is left alone")

	e, err := Open(t.Context(), disk, &before.options)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	c, err := e.Inspect(t.Context(), "ended")
	require.NoError(t, err)
	require.Equal(t, 9, c.State.ExitCode)
	require.Empty(t, c.State.Error)
	log, err := e.Log(t.Context(), "runs")
	require.NoError(t, err)
	f, err := log.Next()
	require.NoError(t, err)
	require.Equal(t, "started\n", string(f.Data))
	require.NoError(t, log.Close())
	testenv.ReapOrphans(t)
	for name, code := range map[string]int{"runs": 4, "ended": 9} {
		c, err := e.Inspect(t.Context(), name)
		require.NoError(t, err)
		again(t, e, c)
		got, err := e.WaitFor(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, code, got, name)
		require.NoError(t, e.Remove(t.Context(), name, nil))
	}
}
