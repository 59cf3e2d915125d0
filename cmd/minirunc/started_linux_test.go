package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/namespace"
)

// A start that is killed when it has let the process go leaves the pipes: the container runs nevertheless.
func TestStartedWithPipes(t *testing.T) {
	l := newLife(t)
	l.create(t, "c1")
	dir := filepath.Join(l.root, "c1")
	require.NoError(t, namespace.Unpark(t.Context(), dir))
	require.FileExists(t, filepath.Join(dir, ocistate.FIFO))
	require.Equal(t, specs.StateRunning, l.state(t, "c1").Status)
	fails(t, l.root, "that is not stopped: running", "delete", "c1")
	fails(t, l.root, errRunning.Error(), "start", "c1")
	require.NoFileExists(t, filepath.Join(dir, ocistate.FIFO))
	require.NoFileExists(t, filepath.Join(dir, reportFIFO))
	require.Equal(t, specs.StateRunning, l.state(t, "c1").Status)
	ok(t, l.root, "delete", "--force", "c1")

	l.create(t, "c1")
	require.NoError(t, namespace.Unpark(t.Context(), dir))
	ok(t, l.root, "kill", "c1", "KILL")
	l.stopped(t, "c1")
	fails(t, l.root, errStopped.Error(), "start", "c1")
	ok(t, l.root, "delete", "c1")
	l.clean(t)
}

// stopped waits until the container has.
func (l *life) stopped(t *testing.T, id string) {
	t.Helper()
	k, err := (&command{root: l.root}).open(id)
	require.NoError(t, err)
	require.NoError(t, k.Wait(t.Context()))
	require.Equal(t, specs.StateStopped, l.state(t, id).Status)
}

// TestStartKilled kills a start at any moment: the container is created still, and can be started, or runs.
func TestStartKilled(t *testing.T) {
	l := newLife(t)
	l.create(t, "c1")
	begin := time.Now()
	l.ok(t, "start", "c1")
	whole := time.Since(begin)
	ok(t, l.root, "delete", "--force", "c1")
	rounds := 12
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		l.create(t, "c1")
		cmd := l.cmd(t, "start", "c1")
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// What it has let go executes its command, sooner or later.
		if runc(t, l.root, "start", "c1").code != 0 {
			fails(t, l.root, errRunning.Error(), "start", "c1")
		}
		require.Equal(t, specs.StateRunning, l.state(t, "c1").Status)
		ok(t, l.root, "kill", "c1", "KILL")
		l.stopped(t, "c1")
		ok(t, l.root, "delete", "c1")
		l.clean(t)
	}
}

// TestKillCreated: a container that was not started is ended by the signals that end programs, though it has a PID namespace,
// whose first process takes none of itself.
func TestKillCreated(t *testing.T) {
	l := newLife(t)
	for _, c := range []struct {
		args []string
		own  bool
	}{
		{[]string{"TERM"}, true}, {[]string{"INT"}, true}, {nil, true}, {[]string{"TERM"}, false},
	} {
		l.spec.Linux.Namespaces = exampleSpec().Linux.Namespaces
		if !c.own {
			l.spec.Linux.Namespaces = l.spec.Linux.Namespaces[1:]
			require.NotEqual(t, specs.PIDNamespace, l.spec.Linux.Namespaces[0].Type)
		}
		l.write(t)
		l.create(t, "c1")
		if c.own {
			ok(t, l.root, "kill", "c1", "USR1")
			ok(t, l.root, "kill", "c1", "WINCH")
			ok(t, l.root, "kill", "c1", "0")
			require.Equal(t, specs.StateCreated, l.state(t, "c1").Status)
		}
		ok(t, l.root, append([]string{"kill", "c1"}, c.args...)...)
		l.stopped(t, "c1")
		fails(t, l.root, ocistate.ErrNotRunning.Error(), "kill", "c1")
		ok(t, l.root, "delete", "c1")
	}
	l.create(t, "c1")
	ok(t, l.root, "kill", "--all", "c1", "TERM")
	l.stopped(t, "c1")
	ok(t, l.root, "delete", "c1")
	l.clean(t)
}

// TestHookTimeoutEndsAll: what a hook has started ends with it when its time is over, whatever process groups there are, and
// though a parent has ended.
func TestHookTimeoutEndsAll(t *testing.T) {
	m := newMade(t, "sleep")
	second, list := 1, filepath.Join(t.TempDir(), "pids")
	hook := specs.Hook{Path: "/bin/sh", Timeout: &second, Args: []string{"sh", "-c",
		`set -m; { sleep 100 & echo $! >>` + list + `; }; (sleep 100 & echo $! >>` + list + `); sleep 100`}}
	m.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{hook}}
	m.write()
	m.fails(1, "hooks.createRuntime[0]: error running hook /bin/sh: it did not end within 1 s", "create", "c")
	b, err := os.ReadFile(list)
	require.NoError(t, err)
	pids := strings.Fields(string(b))
	require.Len(t, pids, 2)
	for _, s := range pids {
		pid, err := strconv.Atoi(s)
		require.NoError(t, err)
		p, err := namespace.FindProcess(pid)
		if errors.Is(err, os.ErrProcessDone) { // and reaped by whom it was left to
			continue
		}
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err = p.Wait(ctx)
		cancel()
		require.NoError(t, err)
		require.NoError(t, p.Close())
	}
}

// TestContainedHookTimeoutEndsAll is the same for a hook in a container that has no PID namespace, by which it would end.
func TestContainedHookTimeoutEndsAll(t *testing.T) {
	m := newMade(t, "sleep")
	second := 1
	m.spec.Linux.Namespaces = m.spec.Linux.Namespaces[1:]
	m.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/probe", Args: []string{"probe", "fork"}, Timeout: &second}}}
	m.write()
	m.ok("create", "c")
	m.fails(1, "hooks.startContainer[0]: error running hook /bin/probe: it did not end within 1 s", "start", "c")
	k, err := (&command{root: m.root}).open("c")
	require.NoError(t, err)
	require.NoError(t, k.Wait(t.Context()))
	require.Eventually(t, func() bool { return m.ok("ps", "--format", "json", "c") == "[]\n" }, time.Minute, 20*time.Millisecond)
	m.ok("delete", "c")
}
