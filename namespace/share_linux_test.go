package namespace

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// startShared starts a process of this program's own that others take part in, with an input and what it prints in the log.
func startShared(t *testing.T, keep *Keep) (*Share, *Process, *os.File) {
	t.Helper()
	root := keptRoot(t)
	s, err := NewShare(keep)
	require.NoError(t, err)
	in, w, err := os.Pipe()
	require.NoError(t, err)
	r, out, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, s.Input(w))
	l := defaultLaunch(root, "/bin/chat")
	l.Stdin, l.Stdout = in, out
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	require.NoError(t, errorsOf(in.Close(), out.Close()))
	s.Serve(p)
	copied := make(chan struct{})
	go func() {
		_, _ = io.Copy(s.Log(Stdout), r)
		_ = r.Close()
		close(copied)
	}()
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		_, _ = p.Wait(t.Context())
		_ = w.Close()
		<-copied
		_ = s.End(nil)
	})
	return s, p, w
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestShare: a process that this program runs itself is adopted, fed, followed and waited for as one with a keeper.
func TestShare(t *testing.T) {
	dir := t.TempDir()
	s, p, w := startShared(t, &Keep{Dir: dir})
	_, err := NewShare(&Keep{Dir: dir})
	require.ErrorIs(t, err, os.ErrExist, "the folder is taken")

	q, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	defer q.Close()
	require.Equal(t, p.Pid(), q.Pid())
	log, err := OpenLog(dir)
	require.NoError(t, err)
	defer log.Close()
	in, err := q.Input(t.Context())
	require.NoError(t, err)
	_, err = in.WriteString("one\n")
	require.NoError(t, err)
	text := ""
	for text != "out\nheard one\n" {
		f, err := log.Follow(t.Context())
		require.NoError(t, err)
		text += string(f.Data)
	}
	for _, junk := range [][]byte{nil, {0}, []byte("x"), bytes.Repeat([]byte("p"), 100)} { // who says nonsense is left out
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		to := &unix.SockaddrUnix{Name: filepath.Join(dir, keepControl)}
		require.NoError(t, unix.Sendto(fd, junk, 0, to))
		require.NoError(t, unix.Sendmsg(fd, junk, unix.UnixRights(fd, fd), to, 0))
		require.NoError(t, unix.Close(fd))
	}
	require.NoError(t, q.CloseInput(t.Context()))
	require.NoError(t, q.CloseInput(t.Context()))
	_, err = q.Input(t.Context())
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, errorsOf(w.Close(), in.Close()))
	state, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, state.Code)

	followed := make(chan error, 1)
	go func() {
		_, err := log.Follow(t.Context())
		followed <- err
	}()
	require.NoError(t, s.End(state))
	require.NoError(t, s.End(nil))
	require.ErrorIs(t, <-followed, io.EOF)
	_, err = s.Log(Stderr).Write([]byte("late"))
	require.NoError(t, err)
	require.Empty(t, logText(t, dir, Stderr))
	got, err := q.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, state.Code, got.Code)
	require.Equal(t, state.MaxRSS, got.MaxRSS)
	require.InDelta(t, state.UserTime, got.UserTime, float64(time.Microsecond))
	require.NoFileExists(t, filepath.Join(dir, keepControl))
	late, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, late.Close())
}

// TestShareEnds: each way to end is told as it was, and one that is not known as that of who was killed.
func TestShareEnds(t *testing.T) {
	for _, want := range []*State{nil, {Code: 0}, {Code: 255}, {Code: -1, Signal: 9}, {Code: -1, Signal: 11, CoreDumped: true}} {
		dir := t.TempDir()
		s, err := NewShare(&Keep{Dir: dir})
		require.NoError(t, err)
		s.Serve(&Process{pid: 5, pidfd: os.Stdin})
		require.NoError(t, s.End(want))
		p, err := Adopt(t.Context(), dir)
		if want == nil {
			want = &State{Code: -1, Signal: 9}
		}
		require.NoError(t, err)
		got, err := p.Wait(t.Context())
		require.NoError(t, err)
		got.Ended = time.Time{}
		require.Equal(t, want, got)
		require.NoError(t, p.Close())
	}
}

// TestShareFails: of what could not be made nothing is left.
func TestShareFails(t *testing.T) {
	for _, name := range []string{keepExitNew, keepControl} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		_, err := NewShare(&Keep{Dir: dir})
		require.Error(t, err, name)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, name)
	}
	for field, k := range map[string]*Keep{"Keep.Dir": {}, "Keep.LogSize": {Dir: t.TempDir(), LogSize: 1}} {
		_, err := NewShare(k)
		var e *StartError
		require.ErrorAs(t, err, &e)
		require.Equal(t, field, e.Path)
	}
	dir := t.TempDir()
	s, err := NewShare(&Keep{Dir: dir})
	require.NoError(t, err)
	s.Abort()
	s.Abort()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestShareLog: the log is turned at its size, goes on with that of a process before, and without a log nothing is written.
func TestShareLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keep")
	require.NoError(t, os.Mkdir(dir, 0o700))
	line := bytes.Repeat([]byte("x"), 1000)
	for round := range 2 {
		s, err := NewShare(&Keep{Dir: dir, LogSize: 64 << 10})
		require.NoError(t, err)
		s.Serve(&Process{pid: 5, pidfd: os.Stdin})
		for i := range 50 {
			_, err := fmt.Fprintf(s.Log(Stdout), "%d.%02d%s\n", round, i, line)
			require.NoError(t, err)
		}
		require.NoError(t, s.End(&State{}))
		require.NoError(t, ContinueLog(dir))
	}
	text := logText(t, dir, Stdout)
	require.Contains(t, text, "0.00x")
	require.Contains(t, text, "1.49x")
	require.FileExists(t, filepath.Join(dir, keepOldLog))
	s, err := NewShare(&Keep{Dir: dir, LogSize: 64 << 10})
	require.NoError(t, err)
	s.Serve(&Process{pid: 5, pidfd: os.Stdin})
	_, err = s.Log(Stdout).Write(bytes.Repeat(line, 100)) // more than a frame
	require.NoError(t, err)
	require.NoError(t, s.End(nil))
	require.Contains(t, logText(t, dir, Stdout), string(line)+string(line))

	dir = t.TempDir()
	s, err = NewShare(&Keep{Dir: dir, NoLog: true})
	require.NoError(t, err)
	s.Serve(&Process{pid: 5, pidfd: os.Stdin})
	_, err = s.Log(Stdout).Write(line)
	require.NoError(t, err)
	require.NoError(t, s.End(nil))
	require.NoFileExists(t, filepath.Join(dir, keepLog))
}

// TestShareFullDisk: what does not fit is lost whole, and is no error; how it ended is told.
func TestShareFullDisk(t *testing.T) {
	keptRoot(t)
	disk := t.TempDir()
	require.NoError(t, unix.Mount("full", disk, "tmpfs", 0, "size=96k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	s, err := NewShare(&Keep{Dir: disk})
	require.NoError(t, err)
	s.Serve(&Process{pid: 5, pidfd: os.Stdin})
	for i := range 20 {
		_, err := s.Log(Stdout).Write(bytes.Repeat([]byte{byte('a' + i)}, 10_000))
		require.NoError(t, err)
	}
	require.NoError(t, s.End(&State{Code: 3}))
	require.Zero(t, len(logText(t, disk, Stdout))%10_000)
	p, err := Adopt(t.Context(), disk)
	require.NoError(t, err)
	require.Equal(t, 3, p.state.Code)
	require.NoError(t, p.Close())
}

// TestKeepNoLog: a keeper without a log throws away what is printed, however much that is.
func TestKeepNoLog(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	l := keptLaunch(root, dir, "/bin/flood", "10000")
	l.Keep.NoLog = true
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Code)
	require.Zero(t, s.Signal)
	require.Empty(t, logText(t, dir, Stdout))
	require.NoFileExists(t, filepath.Join(dir, keepLog))
}
