package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// The machine loses its power while containers run and write. When it is on again, the stores are whole, each container is known
// to have ended, and logs are there without a gap, up to what the disk had got at the least.
func TestPowerCut(t *testing.T) {
	const dir, note = "/var/power", "/var/power.json"
	boot := testenv.RequireBoots(t)
	e, err := Open(t.Context(), dir, &Options{NetworkNamespace: testenv.NewNetns(t)})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	if boot == 1 {
		cutPower(t, e, note)
	}
	require.NoError(t, e.images.Check(t.Context(), &image.CheckOptions{}))
	requireTidy(t, e)
	b, err := os.ReadFile(note)
	require.NoError(t, err)
	var synced int
	require.NoError(t, json.Unmarshal(b, &synced))
	for name, code := range map[string]int{"ended": 9, "writes": 137, "idle": 137} {
		c, err := e.Inspect(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, Exited, c.State.Status, name)
		require.Equal(t, code, c.State.ExitCode, name)
	}
	lines := logLines(t, e, "writes")
	t.Logf("%d lines, %d of them were synced", len(lines), synced)
	require.GreaterOrEqual(t, len(lines), synced)
	for i, line := range lines {
		require.Equal(t, fmt.Sprintf("line %d", i+1), line)
	}
	for _, name := range []string{"idle", "ended"} {
		c, err := e.Inspect(t.Context(), name)
		require.NoError(t, err)
		testenv.ReapOrphans(t)
		again(t, e, c)
	}
	code, err := e.WaitFor(t.Context(), "ended")
	require.NoError(t, err)
	require.Equal(t, 9, code)
	for _, name := range []string{"ended", "writes", "idle"} {
		require.NoError(t, e.Remove(t.Context(), name, &RemoveOptions{Force: true}))
	}
	requireTidy(t, e)
}

// cutPower starts containers, has what they have done so far be written to disk, waits for more, and does not return.
func cutPower(t *testing.T, e *Engine, note string) {
	ended := detached(t, e, &Config{Name: "ended"}, "exit 9")
	require.Eventually(t, func() bool { // its keeper has written that down, and nobody has looked
		l, held, err := durable.TryAcquire(e.path(ended.ID, "lock"), true)
		require.NoError(t, err)
		return !held && l.Close() == nil
	}, time.Minute, 10*time.Millisecond)
	writes := detached(t, e, &Config{Name: "writes", Image: ended.Config.Image},
		"i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done")
	detached(t, e, &Config{Name: "idle", Image: ended.Config.Image}, "exec sleep 1000")
	wait := func(n int) int {
		lines := 0
		require.Eventually(t, func() bool { lines = len(logLines(t, e, writes.ID)); return lines >= n }, time.Minute, 50*time.Millisecond)
		return lines
	}
	synced := wait(30)
	require.NoError(t, os.WriteFile(note, fmt.Appendf(nil, "%d", synced), 0o644))
	syscall.Sync()
	wait(synced + 30)
	require.NoError(t, os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)) // at once: nothing is written any more
	select {}
}

// logLines are the whole lines that a container has written.
func logLines(t *testing.T, e *Engine, name string) []string {
	t.Helper()
	l, err := e.Log(t.Context(), name)
	require.NoError(t, err)
	defer l.Close()
	var b strings.Builder
	for {
		f, err := l.Next()
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		b.Write(f.Data)
	}
	text := b.String()
	return strings.Split(strings.TrimSuffix(text[:strings.LastIndexByte(text, '\n')+1], "\n"), "\n")
}
