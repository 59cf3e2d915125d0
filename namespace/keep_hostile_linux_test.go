package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A process that takes out of its own output what the keeper was told of does not hold up the keeper.
func TestKeeperDoesNotBlock(t *testing.T) {
	root := keptRoot(t)
	for _, tty := range []bool{false, true} {
		l := keptLaunch(root, t.TempDir(), "/bin/chat")
		l.TTY = tty
		p, err := l.Start(t.Context())
		require.NoError(t, err)
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", keeperOf(t, p.Pid())))
		require.NoError(t, err)
		n := 0
		for _, fd := range fds {
			link, err := os.Readlink(fd)
			if errors.Is(err, os.ErrNotExist) { // what it closes when it becomes the keepers' program
				continue
			}
			require.NoError(t, err)
			info, err := os.ReadFile(strings.Replace(fd, "/fd/", "/fdinfo/", 1))
			require.NoError(t, err)
			var pos, flags int
			_, err = fmt.Sscanf(string(info), "pos: %d\nflags: %o", &pos, &flags)
			require.NoError(t, err)
			if reads := flags&unix.O_ACCMODE != unix.O_WRONLY; !reads || !strings.HasPrefix(link, "pipe:") && !strings.HasSuffix(link, "ptmx") {
				continue
			}
			n++
			require.NotZero(t, flags&unix.O_NONBLOCK, "%s: %s", link, info)
		}
		require.Equal(t, 2, n, "output and errors, or the terminal as output and input")
		require.NoError(t, p.Signal(syscall.SIGKILL))
		_, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Close())
	}
}

// Wait that was given up while the keeper was about to write how the process ended can be called again.
func TestKeepWaitAgain(t *testing.T) {
	p, err := keptLaunch(keptRoot(t), t.TempDir(), "/bin/chat").Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	keeper := keeperOf(t, p.Pid())
	require.NoError(t, syscall.Kill(keeper, syscall.SIGSTOP))
	require.NoError(t, p.Signal(syscall.SIGKILL))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, syscall.Kill(keeper, syscall.SIGCONT))
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, int(syscall.SIGKILL), s.Signal)
}

func TestKeepRefusesNilFile(t *testing.T) {
	l := keptLaunch(Dir("/"), t.TempDir(), "/bin/chat")
	l.Keep.Hold = []*os.File{nil}
	_, err := l.Start(t.Context())
	require.ErrorContains(t, err, "Keep.Hold")
}

// A start that is given up when its process is there already ends that.
func TestKeepGivenUp(t *testing.T) {
	k := &keeper{path: t.TempDir()}
	p, err := keptLaunch(keptRoot(t), k.path, "/bin/chat").Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	first := defaultLaunch(keptRoot(t), "/bin/flood", "0") // what the host program starts, and which ends at once
	q, err := first.Start(t.Context())
	require.NoError(t, err)
	s := newStarter(first, newProgram())
	require.NoError(t, s.openReport())
	s.closeChildSide()
	defer s.close()
	keeper := keeperOf(t, p.Pid()) // which does not answer at once
	require.NoError(t, syscall.Kill(keeper, syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", keeper))
		return err == nil && strings.Contains(string(b), ") T ")
	}, time.Minute, time.Millisecond)
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = syscall.Kill(keeper, syscall.SIGCONT)
	}()
	_, err = k.meet(ctx, q, s)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, p.Signal(0), os.ErrProcessDone)
}

// A log that could not be begun when the last one was full is begun later.
func TestKeepNewLogLater(t *testing.T) {
	root, disk := keptRoot(t), t.TempDir()
	require.NoError(t, unix.Mount("few", disk, "tmpfs", 0, "nr_inodes=5")) // itself and the keeper's four files
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	l := keptLaunch(root, disk, "/bin/chat")
	l.Keep.LogSize = minLogSize
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	in, err := p.Input(t.Context())
	require.NoError(t, err)
	defer in.Close()
	fill := func() {
		for range 3 * minLogSize / 4096 {
			_, err := in.WriteString(strings.Repeat("x", 4095) + "\n")
			require.NoError(t, err)
		}
	}
	is := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(disk, name)); return err == nil }
	}
	fill()
	require.Eventually(t, is(keepOldLog), time.Minute, time.Millisecond)
	require.False(t, is(keepLog)())
	require.NoError(t, unix.Mount("few", disk, "tmpfs", unix.MS_REMOUNT, "nr_inodes=50"))
	fill()
	require.Eventually(t, is(keepLog), time.Minute, time.Millisecond)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
}

// The files that Landlock's rules are made of do not count among those that the command may open.
func TestLandlockFewFiles(t *testing.T) {
	l := defaultLaunch(keptRoot(t), "/bin/flood", "0")
	l.Landlock = &Landlock{Files: []LandlockFiles{{Path: "/", Access: landlockAll}}, AnyPort: true, Unscoped: true, BestEffort: true}
	l.Rlimits = []Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 3, Hard: 3}}
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
}
