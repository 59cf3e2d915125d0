package namespace

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The log of a process goes on with that of the one before, though its keeper was killed while it wrote; a start that fails leaves it.
func TestContinueLog(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	run := func(lines int) {
		t.Helper()
		l := keptLaunch(root, dir, "/bin/flood", strconv.Itoa(lines))
		l.Keep.LogSize = minLogSize
		p, err := l.Start(t.Context())
		require.NoError(t, err)
		s, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Zero(t, s.Code)
		require.NoError(t, p.Close())
	}
	run(10)
	first := logText(t, dir, Stdout)
	require.NoError(t, ContinueLog(dir))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	late, err := Adopt(t.Context(), dir) // nobody's end is there
	require.ErrorIs(t, err, ErrNotKept)
	require.Nil(t, late)
	run(20)
	text := logText(t, dir, Stdout)
	require.True(t, strings.HasPrefix(text, first))
	require.Equal(t, 30, strings.Count(text, "\n"))

	log := filepath.Join(dir, keepLog)
	whole, err := os.ReadFile(log)
	require.NoError(t, err)
	frame := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(Stdout)), 100)
	for _, torn := range [][]byte{
		append(append(bytes.Clone(frame), make([]byte, 16)...), "part"...), frame, {1}, make([]byte, 2*frameHeader), // zeros: the power went off
		append(binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 1), 1<<40), make([]byte, 16)...),
	} {
		require.NoError(t, os.WriteFile(log, append(bytes.Clone(whole), torn...), 0o600))
		_ = os.Remove(filepath.Join(dir, keepExit)) // it was killed
		require.NoError(t, ContinueLog(dir))
		got, err := os.ReadFile(log)
		require.NoError(t, err)
		require.Equal(t, whole, got)
	}

	p, err := keptLaunch(root, dir, "/bin/nosuch").Start(t.Context())
	require.Error(t, err)
	require.Nil(t, p)
	require.Equal(t, text, logText(t, dir, Stdout))

	// Its size counts: the log is renamed when both together have reached the bound.
	run(3000) // 37 of 64 KiB, and again
	require.NoError(t, ContinueLog(dir))
	require.NoFileExists(t, filepath.Join(dir, keepOldLog))
	run(3000)
	require.FileExists(t, filepath.Join(dir, keepOldLog))
	require.NoError(t, ContinueLog(dir))
	require.FileExists(t, filepath.Join(dir, keepOldLog))
	require.ErrorIs(t, ContinueLog(filepath.Join(dir, "nosuch")), syscall.ENOENT)
	require.NoDirExists(t, dir+".next")
	require.NoDirExists(t, filepath.Join(dir, "nosuch.next"))
	require.ErrorIs(t, trimLog("/proc/self/mem"), syscall.EIO, "what cannot be read is not torn")
}

// Who waits for a process that has ended does not wait for the next one of the folder.
func TestContinueLogThoughAwaited(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	p, err := keptLaunch(root, dir, "/bin/flood", "1").Start(t.Context())
	require.NoError(t, err)
	late, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.NoError(t, ContinueLog(dir))
	next, err := keptLaunch(root, dir, "/bin/chat").Start(t.Context())
	require.NoError(t, err)
	_, err = late.Wait(t.Context())
	require.ErrorIs(t, err, ErrNotKept)
	require.NoError(t, late.Close())
	require.NoError(t, next.Signal(9))
	_, err = next.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, next.Close())
}
