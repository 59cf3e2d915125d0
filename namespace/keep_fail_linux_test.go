package namespace

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFailEachKeeperStep fails every step of a keeper in turn. A start that fails leaves nothing; a keeper that fails later
// takes its process with it.
func TestFailEachKeeperStep(t *testing.T) {
	root := keptRoot(t)
	p, err := defaultLaunch(root, "/bin/chat").Program()
	require.NoError(t, err)
	before := descriptors(t)
	stride := 1
	if testing.Short() {
		stride = 5
	}
	failed, died := 0, 0
	fail := func(p *Program, k int) {
		s := &p.steps[k]
		s.op, s.n, s.first, s.fail = opFail, 1, len(p.args), 0
		p.args = append(p.args, num(int(syscall.EUCLEAN)))
	}
	start := func(name string, k int, l *Launch) {
		dir := l.Keep.Dir
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p, err := l.Start(ctx)
		if err != nil {
			failed++
			require.NoError(t, ctx.Err(), "%s %d", name, k)
			left, err := filepath.Glob(dir + "/*")
			require.NoError(t, err)
			require.Empty(t, left, "%s %d", name, k)
			return
		}
		_ = p.CloseInput(ctx)
		s, err := p.Wait(ctx)
		require.NoError(t, err, "%s %d", name, k)
		if s.Signal == int(syscall.SIGKILL) {
			died++
		}
		require.NoError(t, p.Close())
	}
	// What comes before the keeper is one, …
	for k, steps := 0, 1; k < steps; k += stride {
		l := keptLaunch(root, t.TempDir(), "/bin/chat")
		l.edit = func(edited *Program) {
			steps = edited.Len() - p.Len()
			fail(edited, k)
		}
		start("step", k, l)
	}
	require.Greater(t, failed, 10/stride)
	// … and what it does then.
	early := failed
	for k, steps := 0, newKeeperProgram().Len(); k < steps; k += stride {
		l := keptLaunch(root, t.TempDir(), "/bin/chat")
		l.keeperEdit = func(p *Program) { fail(p, k) }
		start("keeper's step", k, l)
	}
	require.Greater(t, failed-early, 10/stride)
	require.Greater(t, died, 10/stride)
	require.Subset(t, before, descriptors(t)) // an earlier test's terminal may be gone
}

// A program that is killed at any moment of a start leaves a process that can be adopted, or none.
func TestKeepKillStarter(t *testing.T) {
	root := keptRoot(t)
	self, err := os.Executable()
	require.NoError(t, err)
	count := 40
	if testing.Short() {
		count = 8
	}
	for range count {
		dir := t.TempDir()
		cmd := exec.Command(self)
		cmd.Args = []string{"keep", root.String(), dir}
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		p, err := Adopt(ctx, dir)
		if errors.Is(err, ErrNotKept) {
			cancel()
			continue
		}
		require.NoError(t, err)
		if err := p.Signal(syscall.SIGKILL); err != nil {
			require.ErrorIs(t, err, os.ErrProcessDone)
		}
		_, err = p.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, p.Close())
		cancel()
	}
}

// A full disk costs log lines, but neither holds up the process nor hides how it ended.
func TestKeepFullDisk(t *testing.T) {
	root := keptRoot(t)
	disk := t.TempDir()
	require.NoError(t, unix.Mount("full", disk, "tmpfs", 0, "size=96k"))
	t.Cleanup(func() { // the keeper has it open a little longer than its process lives
		require.Eventually(t, func() bool { return unix.Unmount(disk, 0) == nil }, time.Minute, time.Millisecond)
	})
	dir := filepath.Join(disk, "keep")
	require.NoError(t, os.Mkdir(dir, 0o700))
	p, err := keptLaunch(root, dir, "/bin/flood", strconv.Itoa(50_000)).Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Code)
	require.Zero(t, s.Signal)
	require.ErrorIs(t, os.WriteFile(filepath.Join(disk, "full"), make([]byte, 64<<10), 0o600), unix.ENOSPC)
	require.Contains(t, logText(t, dir, Stdout), "line 0000000\n")
}
