package namespace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Who comes back to a place in the log misses nothing, across a change of the file too, and is told if it does.
func TestLogPosition(t *testing.T) {
	const lines = 12_000 // 156 KB: a file and a half
	root, dir := keptRoot(t), t.TempDir()
	empty, err := OpenLog(dir)
	require.NoError(t, err)
	start, err := empty.Position()
	require.NoError(t, err)
	require.NoError(t, empty.Close())
	l := keptLaunch(root, dir, "/bin/flood", strconv.Itoa(lines))
	l.Keep.LogSize = 128 << 10
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	var text strings.Builder
	at, frames := start, 0
	for {
		r, lost, err := OpenLogAt(dir, at)
		require.NoError(t, err)
		require.False(t, lost)
		f, err := r.Next()
		if err == io.EOF {
			require.NoError(t, r.Close())
			break
		}
		require.NoError(t, err)
		text.Write(f.Data)
		frames++
		at, err = r.Position()
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	require.Greater(t, frames, 3)
	require.Equal(t, lines*len("line 0000000\n"), text.Len())
	r, lost, err := OpenLogAt(dir, LogPosition{File: at.File + 1<<40, Offset: 3})
	require.NoError(t, err)
	require.True(t, lost)
	f, err := r.Next()
	require.NoError(t, err)
	require.Contains(t, string(f.Data), "line 0000000\n")
	require.NoError(t, r.Close())
}

// Several clients have a terminal at once: each sees all of the output and can type and resize.
func TestKeepTTYOfSeveral(t *testing.T) {
	const clients = 4
	root, dir := keptRoot(t), t.TempDir()
	l := keptLaunch(root, dir, "/bin/chat")
	l.TTY = true
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	var wg sync.WaitGroup
	seen := make([]string, clients)
	for i := range clients {
		q, err := Adopt(t.Context(), dir)
		require.NoError(t, err)
		defer q.Close()
		tty, err := q.Input(t.Context())
		require.NoError(t, err)
		defer tty.Close()
		require.NoError(t, Resize(tty, WinSize{Rows: uint16(20 + i), Cols: 80}))
		wg.Go(func() {
			r, err := OpenLog(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			for {
				f, err := r.Follow(t.Context())
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				seen[i] += string(f.Data)
			}
		})
		_, err = fmt.Fprintf(tty, "client %d\n", i)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return strings.Count(logText(t, dir, Stdout), "heard client") == clients }, time.Minute, time.Millisecond)
	tty, err := p.Input(t.Context())
	require.NoError(t, err)
	size, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
	require.NoError(t, err)
	require.Equal(t, uint16(20+clients-1), size.Row, "the last one's")
	_, err = tty.WriteString("\x04")
	require.NoError(t, err)
	require.NoError(t, tty.Close())
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	wg.Wait()
	for i := range clients {
		require.Equal(t, seen[0], seen[i])
		require.Contains(t, seen[0], fmt.Sprintf("heard client %d\r\n", i))
	}
}

// TestLogPositionOfGone: a log that was renamed twice is not taken for the one that has got its inode.
func TestLogPositionOfGone(t *testing.T) {
	dir := t.TempDir()
	begin := func() {
		t.Helper()
		path := filepath.Join(dir, keepLog)
		if err := os.Rename(path, filepath.Join(dir, keepOldLog)); !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(path, make([]byte, 100), 0o600))
	}
	for range 3 {
		begin()
		at, err := EndOfLog(dir)
		require.NoError(t, err)
		time.Sleep(20 * time.Millisecond) // the clock of files may be as coarse as that
		begin()
		begin()
		r, lost, err := OpenLogAt(dir, at)
		require.NoError(t, err)
		require.True(t, lost)
		require.NoError(t, r.Close())
	}
}
