package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// doEarly is what a program does first that is linked with -E _early: so does "minirunc" here, the command that most of these tests run.
func doEarly(args []string) bool {
	stack, strings := []uintptr{uintptr(len(args))}, make([][]byte, len(args))
	for i, a := range args {
		strings[i] = append([]byte(a), 0)
		stack = append(stack, earlyAddr(&strings[i][0]))
	}
	defer runtime.KeepAlive(strings)
	return early(&stack[0])
}

func (l *life) early(args ...string) bool {
	return doEarly(append([]string{"minirunc", "--root", l.root}, args...))
}

// status is what has become of c1.
func (l *life) status(t testing.TB) specs.ContainerState {
	t.Helper()
	k, err := (&command{root: l.root}).open("c1")
	require.NoError(t, err)
	status, err := k.status()
	require.NoError(t, err)
	return status
}

// ended waits until c1 has.
func (l *life) ended(t testing.TB) {
	t.Helper()
	k, err := (&command{root: l.root}).open("c1")
	require.NoError(t, err)
	require.NoError(t, k.Wait(t.Context()))
	require.Equal(t, specs.StateStopped, l.status(t))
}

// deleteEarly deletes c1, whose first process has ended, but may not have left its control groups.
func (l *life) deleteEarly(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return l.early("delete", "c1") }, time.Minute, time.Millisecond)
}

// TestEarly: start and delete of an ordinary container need no main, and all else is left as it is.
func TestEarly(t *testing.T) {
	l := newLife(t)
	log := filepath.Join(t.TempDir(), "log")
	later := func(args ...string) { t.Helper(); require.False(t, l.early(args...), "%q", args) }
	later("start", "c1")
	l.create(t, "c1")
	folder := filepath.Join(l.root, "c1")
	for _, args := range [][]string{
		{"start"}, {"start", ""}, {"start", "c2"}, {"start", "../c1"}, {"start", "c1", "c1"}, {"start", "--help"}, {"start", "--force", "c1"},
		{"--debug", "start", "c1"}, {"--log-format", "xml", "start", "c1"}, {"--log", t.TempDir(), "start", "c1"}, {"--log"}, {"state", "c1"},
		{"--root", "/", "start", "c1"}, {"--root", "", "start", "c1"}, {"--root", l.root + "/../root", "start", "c1"},
		{"--root", l.root + "//", "start", "c1"}, {"--root", "root", "start", "c1"}, {"delete"}, {"delete", "c1"}, {"delete", "--force", "c1"},
	} {
		later(args...)
	}
	held, err := ocistate.Root(l.root).Lock("c1", time.Minute)
	require.NoError(t, err)
	later("start", "c1")
	require.NoError(t, held.Close())
	ok(t, l.root, "pause", "c1")
	later("start", "c1")
	ok(t, l.root, "resume", "c1")
	notes, err := os.ReadFile(filepath.Join(folder, earlyFile))
	require.NoError(t, err)
	for _, b := range [][]byte{nil, {earlyEnd}, {earlyEnd, 0}, []byte("no end.\x00"), notes[:len(notes)-1], notes[:len(notes)-2], bytes.Repeat(notes, len(earlyNotes)/len(notes)+1)} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, earlyFile), b, 0o600))
		later("start", "c1")
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, earlyFile), notes, 0o600))
	state := filepath.Join(folder, ocistate.StateFile)
	require.NoError(t, os.Rename(state, state+"1"))
	later("start", "c1")
	require.NoError(t, os.Rename(state+"1", state))
	require.Equal(t, specs.StateCreated, l.status(t))

	require.True(t, l.early("--log", log, "--log-format", "json", "--systemd-cgroup", "start", "c1"))
	require.FileExists(t, log)
	require.Equal(t, specs.StateRunning, l.status(t))
	require.NoFileExists(t, filepath.Join(folder, ocistate.FIFO))
	require.NoFileExists(t, filepath.Join(folder, reportFIFO))
	later("start", "c1")
	later("delete", "c1")
	later("delete", "-f", "c1")
	require.Equal(t, specs.StateRunning, l.status(t))
	ok(t, l.root, "kill", "c1", "KILL")
	l.ended(t)
	later("start", "c1")
	l.deleteEarly(t)
	l.clean(t)

	// Who has the process's number is another one.
	l.create(t, "c1")
	ok(t, l.root, "kill", "c1", "KILL")
	l.ended(t)
	note := func(start uint64) {
		k, err := (&command{root: l.root}).lock("c1")
		require.NoError(t, err)
		k.InitProcessPid, k.InitProcessStart = os.Getpid(), start
		require.NoError(t, k.noteEarly())
		require.NoError(t, k.close())
	}
	start, err := ocistate.StartTime(os.Getpid())
	require.NoError(t, err)
	note(start)
	later("delete", "c1")
	note(start + 1)
	require.NoError(t, os.Mkdir(filepath.Join(folder, "strange"), 0o700))
	l.ok(t, "delete", "c1")
	l.clean(t)
}

// TestEarlyAnother: what delete has left to main is not done to another container, which has taken the id meanwhile.
func TestEarlyAnother(t *testing.T) {
	l := newLife(t)
	l.create(t, "c1")
	ok(t, l.root, "kill", "c1", "KILL")
	l.ended(t)
	require.NoError(t, os.Mkdir(filepath.Join(l.root, "c1", "strange"), 0o700))
	defer func() { earlyRemoved = false }()
	require.Eventually(t, func() bool { return l.early("delete", "c1") || earlyRemoved }, time.Minute, time.Millisecond)
	l.run(t, "delete", "c1") // another one removes what is left
	l.create(t, "c1")
	ok(t, l.root, "delete", "c1")
	require.Equal(t, specs.StateCreated, l.status(t))
	earlyRemoved = false
	ok(t, l.root, "delete", "--force", "c1")
	l.clean(t)
}

// TestEarlyLinked: a program that is linked dynamically, as it is where there is a C compiler, begins with early and goes on with main. It has
// less than 12 MB of memory while it runs a container.
func TestEarlyLinked(t *testing.T) {
	testenv.RequireCommand(t, "go")
	testenv.RequireCommand(t, "gcc")
	program := filepath.Join(t.TempDir(), "minirunc")
	build := exec.Command("go", "build", "-ldflags=-E _early", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(program, "--version").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "minirunc version")

	l := newLife(t)
	cmd := exec.Command(program, "--root", l.root, "run", "--bundle", l.dir, "c1")
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		r := runc(t, l.root, "state", "c1")
		return r.code == 0 && strings.Contains(r.stdout, `"running"`)
	}, time.Minute, 10*time.Millisecond)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	require.NoError(t, err)
	peak := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(b)
	require.NotNil(t, peak, "%s", b)
	kb, err := strconv.Atoi(string(peak[1]))
	require.NoError(t, err)
	require.Less(t, kb, 12<<10)
	ok(t, l.root, "kill", "c1", "KILL")
	require.Error(t, cmd.Wait())
	require.Equal(t, 128+9, cmd.ProcessState.ExitCode())
	l.clean(t)
}

// TestEarlyNotExecuted: the command of a container is away when it is started.
func TestEarlyNotExecuted(t *testing.T) {
	l := newLife(t)
	sleeper := filepath.Join(l.spec.Root.Path, "bin/sleeper")
	var messages []string
	for _, run := range []func(args ...string) result{
		func(args ...string) result { return l.run(t, args...) },
		func(args ...string) result { return runc(t, l.root, args...) },
	} {
		l.create(t, "c1")
		require.NoError(t, os.Rename(sleeper, sleeper+"1"))
		r := run("--log-format", "json", "start", "c1")
		require.Equal(t, 1, r.code)
		messages = append(messages, regexp.MustCompile(`"msg":"[^"]*"`).FindString(r.stderr))
		require.NoError(t, os.Rename(sleeper+"1", sleeper))
		l.ended(t)
		require.False(t, l.early("start", "c1"))
		ok(t, l.root, "delete", "c1")
		l.clean(t)
	}
	require.Equal(t, messages[0], messages[1])
	require.Contains(t, messages[0], "no such file or directory")
}

// TestEarlyOrdinary: of a container for which more is to be done, nothing is noted.
func TestEarlyOrdinary(t *testing.T) {
	l := newLife(t)
	whole, err := json.Marshal(l.spec)
	require.NoError(t, err)
	hook := []specs.Hook{{Path: "/bin/true"}}
	for _, change := range []func(){
		func() {
			l.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sleeper", Args: []string{"true"}}}}
		},
		func() { l.spec.Hooks = &specs.Hooks{Poststart: hook} },
		func() { l.spec.Hooks = &specs.Hooks{Poststop: hook} },
		func() {
			l.spec.Linux.Namespaces = slices.DeleteFunc(l.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
				return n.Type == specs.PIDNamespace
			})
		},
	} {
		change()
		l.write(t)
		l.create(t, "c1")
		require.NoFileExists(t, filepath.Join(l.root, "c1", earlyFile))
		require.False(t, l.early("start", "c1"))
		require.False(t, l.early("delete", "--force", "c1"))
		ok(t, l.root, "delete", "--force", "c1")
		l.clean(t)
		l.spec = &specs.Spec{}
		require.NoError(t, json.Unmarshal(whole, l.spec))
	}
}

// TestDeleteEnding: delete waits for a container that is ending, whose last processes take their time.
func TestDeleteEnding(t *testing.T) {
	l := newLife(t)
	freezer := "/sys/fs/cgroup/freezer/" + testenv.CgroupName(t)
	if err := os.Mkdir(freezer, 0o755); err != nil {
		testenv.Skip(t, "the freezer of cgroup v1")
	}
	set := func(file, value string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(freezer, file), []byte(value), 0o600))
	}
	defer func() {
		set("freezer.state", "THAWED")
		require.Eventually(t, func() bool { return os.Remove(freezer) == nil }, time.Minute, time.Millisecond)
	}()
	l.spec.Process.Args = []string{"/bin/sleep", "60"} // of one thread
	for _, dir := range []string{"/bin", "/lib", "/lib64", "/usr"} {
		if _, err := os.Stat(dir); err == nil {
			l.spec.Mounts = append(l.spec.Mounts, specs.Mount{Destination: dir, Source: dir, Options: []string{"rbind", "ro"}})
		}
	}
	l.write(t)
	for _, early := range []bool{true, false} {
		l.create(t, "c1")
		l.ok(t, "start", "c1")
		pidFile := filepath.Join(t.TempDir(), "pid")
		l.ok(t, "exec", "--detach", "--pid-file", pidFile, "c1", "/bin/sleep", "60")
		pid, err := os.ReadFile(pidFile)
		require.NoError(t, err)
		set("cgroup.procs", string(pid))
		set("freezer.state", "FROZEN")
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(filepath.Join(freezer, "freezer.state"))
			return err == nil && string(b) == "FROZEN\n"
		}, time.Minute, time.Millisecond)
		k, err := (&command{root: l.root}).open("c1")
		require.NoError(t, err)
		require.False(t, k.Ending())
		require.NoError(t, k.Signal(syscall.SIGKILL))
		require.Eventually(t, k.Ending, time.Minute, time.Millisecond)
		if !early {
			require.NoError(t, os.Remove(filepath.Join(l.root, "c1", earlyFile)))
		}
		deleted := make(chan result, 1)
		go func() { deleted <- l.run(t, "delete", "c1") }()
		require.Equal(t, specs.StateRunning, l.status(t))
		set("freezer.state", "THAWED")
		n, err := strconv.Atoi(string(pid))
		require.NoError(t, err)
		for err = syscall.EINTR; err == syscall.EINTR; { // before that, its PID namespace does not end
			_, err = syscall.Wait4(n, nil, 0, nil)
		}
		require.NoError(t, err)
		r := <-deleted
		require.Zero(t, r.code, r.stderr)
		l.clean(t)
	}
}
