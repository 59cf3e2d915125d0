package namespace

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// replaceLast makes another system call of the last step, the execution of the command.
func replaceLast(nr int, args ...arg) func(*Program) {
	return func(p *Program) {
		s := &p.steps[len(p.steps)-1]
		if s.op == opFail { // the command was looked up: the first step that tries counts
			for i := range p.steps {
				if p.steps[i].name == "execve" {
					s = &p.steps[i]
					break
				}
			}
		}
		s.op, s.n, s.first = int32(nr), int32(len(args)), len(p.args)
		p.args = append(p.args, args...)
	}
}

// A process that dies when it has said that it is ready and before it executes was never started.
func TestDeathBeforeExecution(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(trueRootfs(t))
	before := descriptors(t)
	for _, status := range []int{0, 3, 127} {
		l := defaultLaunch(root, "true")
		l.edit = replaceLast(unix.SYS_EXIT_GROUP, num(status))
		_, err := l.Start(t.Context())
		var start *StartError
		require.ErrorAs(t, err, &start, "status %d", status)
		require.Equal(t, "set up", start.Step)
	}
	l := defaultLaunch(root, "true")
	l.edit = replaceLast(unix.SYS_PPOLL, null, num(0), null, null, num(8)) // it waits for good
	ready := make(chan *Process, 1)
	l.Created = func(p *Process) error {
		ready <- p
		return nil
	}
	go func() {
		p := <-ready
		time.Sleep(20 * time.Millisecond)
		_ = p.Signal(syscall.SIGKILL)
	}()
	_, err := l.Start(t.Context())
	require.ErrorContains(t, err, "killed by signal 9")
	require.Equal(t, before, descriptors(t))
}

// A process that dies at one of its first steps, before it has a name or a session of its own, was never started.
func TestDeathAtFirst(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(trueRootfs(t))
	for i := range 8 {
		l, last := defaultLaunch(root, "true"), ""
		l.edit = func(p *Program) {
			s := &p.steps[i]
			last = s.name
			s.op, s.n, s.first = unix.SYS_EXIT_GROUP, 1, len(p.args)
			p.args = append(p.args, num(0))
		}
		_, err := l.Start(t.Context())
		var start *StartError
		require.ErrorAs(t, err, &start, "%s instead of step %d, %s", "exit_group", i, last)
		require.Equal(t, "set up", start.Step)
	}
}

// Where /proc is that of another PID namespace, in which the numbers are others' or nobody's, processes are started all the same.
func TestStartUnderOtherProc(t *testing.T) {
	testenv.RequireRoot(t)
	if !testenv.Again(t, func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		return cmd.Run()
	}) {
		return
	}
	l := defaultLaunch(Dir(trueRootfs(t)), "true")
	for range 100 { // of the numbers some are nobody's
		p, err := l.Start(t.Context())
		require.NoError(t, err)
		_, err = p.Wait(t.Context())
		require.NoError(t, errors.Join(err, p.Close()))
	}
}

// What executes and ends at once has been started, whatever its status and however slow we look.
func TestShortLifeIsALife(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(trueRootfs(t))
	for range 50 {
		p, err := defaultLaunch(root, "true").Start(t.Context())
		require.NoError(t, err)
		s, err := p.Wait(context.Background())
		require.NoError(t, err)
		require.Zero(t, s.Code)
		require.NoError(t, p.Close())
	}
}

// A process that a v1 freezer holds in the middle of its set-up does not hold up Start beyond its context.
func TestStartFrozen(t *testing.T) {
	testenv.RequireRoot(t)
	dir := freezerGroup(t)
	procs, err := os.OpenFile(dir+"/cgroup.procs", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer procs.Close()
	require.NoError(t, os.WriteFile(dir+"/freezer.state", []byte("FROZEN"), 0))
	before := descriptors(t)
	l := defaultLaunch(Dir(trueRootfs(t)), "true")
	l.CgroupTasks = []*os.File{procs}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err = l.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), 10*time.Second)
	require.NoError(t, os.WriteFile(dir+"/freezer.state", []byte("THAWED"), 0))
	require.Eventually(t, func() bool { return len(before) == len(descriptors(t)) }, time.Minute, time.Millisecond,
		"it ends when it is thawed, and is reaped")
}

// freezerGroup makes a group of v1's freezer below ours.
func freezerGroup(t *testing.T) string {
	t.Helper()
	dir := "/sys/fs/cgroup/freezer/" + testenv.CgroupName(t)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("needs the freezer controller of cgroup v1")
	}
	t.Cleanup(func() {
		_ = os.WriteFile(dir+"/freezer.state", []byte("THAWED"), 0)
		require.Eventually(t, func() bool { return os.Remove(dir) == nil }, time.Minute, time.Millisecond)
	})
	return dir
}
