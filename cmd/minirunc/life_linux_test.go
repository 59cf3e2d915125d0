package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A life is a bundle and a root for containers of it, which are made by the command as callers do: as a process that ends,
// and leaves the container's process to this one, which is a subreaper.
type life struct {
	root, dir string
	group     string
	spec      *specs.Spec
}

// newLife makes a bundle that runs the test binary as "sleeper".
func newLife(t *testing.T) *life {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	l := &life{root: filepath.Join(t.TempDir(), "root"), dir: t.TempDir(), group: testenv.CgroupName(t), spec: exampleSpec()}
	l.spec.Root.Path = testenv.NewRootfs(t, "sleeper")
	l.spec.Process.Args, l.spec.Process.Terminal = []string{"/bin/sleeper"}, false
	l.spec.Linux.CgroupsPath = l.group
	l.spec.Annotations = map[string]string{"a.b": "c"}
	l.write(t)
	t.Cleanup(func() {
		for _, id := range strings.Fields(runc(t, l.root, "list", "-q").stdout) {
			_ = runc(t, l.root, "delete", "--force", id)
		}
	})
	return l
}

func (l *life) write(t testing.TB) {
	t.Helper()
	b, err := json.Marshal(l.spec)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(l.dir, "config.json"), b, 0o600))
}

// playSleeper does nothing until it is told to end, or for a minute: it is no leak then.
func playSleeper([]string) int {
	time.Sleep(time.Minute)
	return 0
}

func (l *life) cmd(t testing.TB, args ...string) *exec.Cmd {
	return play(t, "minirunc", append([]string{"--root", l.root}, args...)...)
}

// run runs the command as a process.
func (l *life) run(t testing.TB, args ...string) result {
	t.Helper()
	return runAside(t, l.cmd(t, args...))
}

// runAside runs a command that may leave a container. It has files for its output, not pipes: the container has them too.
func runAside(t testing.TB, cmd *exec.Cmd) (r result) {
	t.Helper()
	files := [2]*os.File{}
	for i := range files {
		var err error
		files[i], err = os.CreateTemp(t.TempDir(), "output")
		require.NoError(t, err)
		defer files[i].Close()
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	_ = cmd.Run()
	out, err := os.ReadFile(files[0].Name())
	require.NoError(t, err)
	errs, err := os.ReadFile(files[1].Name())
	require.NoError(t, err)
	return result{cmd.ProcessState.ExitCode(), string(out), string(errs)}
}

func (l *life) ok(t testing.TB, args ...string) string {
	t.Helper()
	r := l.run(t, args...)
	require.Zero(t, r.code, "%v: %s", args, r.stderr)
	return r.stdout
}

func (l *life) create(t testing.TB, id string) { t.Helper(); l.ok(t, "create", "--bundle", l.dir, id) }

func (l *life) state(t testing.TB, id string) (s shownState) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(l.ok(t, "state", id)), &s))
	return s
}

// clean says that nothing is left of containers.
func (l *life) clean(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(l.root)
	if err == nil {
		require.Empty(t, entries)
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/*/*/*" + l.group + "*")
	require.NoError(t, err)
	more, err := filepath.Glob("/sys/fs/cgroup/*/*" + l.group + "*")
	require.NoError(t, err)
	require.Empty(t, append(dirs, more...))
}

func TestLifeByCommands(t *testing.T) {
	l := newLife(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	l.ok(t, "create", "--bundle", l.dir, "--pid-file", pidFile, "c1")
	s := l.state(t, "c1")
	require.Equal(t, specs.StateCreated, s.Status)
	b, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(s.Pid), string(b))
	r := l.run(t, "create", "--bundle", l.dir, "c1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "container with given ID already exists")

	// Another one in the same group would be taken for this one.
	r = l.run(t, "create", "--bundle", l.dir, "c2")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "is not empty: 1 process(es) found")
	require.Equal(t, specs.StateCreated, l.state(t, "c1").Status)
	require.Equal(t, "c1\n", l.ok(t, "list", "-q"))

	l.ok(t, "pause", "c1")
	l.ok(t, "resume", "c1")
	require.Equal(t, specs.StateCreated, l.state(t, "c1").Status)
	l.ok(t, "start", "c1")
	require.Equal(t, specs.StateRunning, l.state(t, "c1").Status)
	require.Equal(t, 1, l.run(t, "start", "c1").code)
	require.Equal(t, fmt.Sprintf("[%d]\n", s.Pid), l.ok(t, "ps", "--format", "json", "c1"))
	l.ok(t, "kill", "c1", "KILL")
	require.Eventually(t, func() bool { return l.state(t, "c1").Status == specs.StateStopped }, time.Minute, time.Millisecond)
	r = l.run(t, "start", "c1")
	require.Contains(t, r.stderr, "cannot start a container that has stopped")
	l.ok(t, "delete", "c1")
	l.clean(t)
}

// TestCreateKilled kills a create, or a run, at any moment. What it leaves can be deleted, and the id used again.
func TestCreateKilled(t *testing.T) {
	l := newLife(t)
	start := time.Now()
	l.create(t, "c1")
	whole := time.Since(start)
	l.ok(t, "delete", "c1")
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	halves := 0
	for i := range rounds {
		cmd := l.cmd(t, []string{"create", "run"}[i%2], "--bundle", l.dir, "c1")
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r := runc(t, l.root, "state", "c1")
		if _, err := os.Stat(filepath.Join(l.root, "c1")); err == nil && r.code != 0 {
			halves++
			require.Contains(t, r.stderr, "container does not exist")
			require.Empty(t, ok(t, l.root, "list", "-q"))
			fails(t, l.root, "container with given ID already exists", "create", "--bundle", l.dir, "c1")
		}
		ok(t, l.root, "delete", "--force", "c1")
		l.clean(t)
	}
	t.Logf("%d of %d were half made", halves, rounds)
	l.create(t, "c1")
	l.ok(t, "delete", "c1")
	l.clean(t)
}

// TestCreateTogether: of several that want an id, one gets it, and it is whole.
func TestCreateTogether(t *testing.T) {
	l := newLife(t)
	for range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for range 4 {
			wg.Go(func() {
				var stderr bytes.Buffer
				cmd := l.cmd(t, "create", "--bundle", l.dir, "c1")
				cmd.Stderr = &stderr
				cmd.WaitDelay = time.Second // the container has the pipe of the one that makes it
				_ = cmd.Run()
				mu.Lock()
				defer mu.Unlock()
				code := cmd.ProcessState.ExitCode()
				codes[code]++
				if code != 0 && !strings.Contains(stderr.String(), "container with given ID already exists") {
					t.Error(stderr.String())
				}
			})
		}
		wg.Wait()
		require.Equal(t, map[int]int{0: 1, 1: 3}, codes)
		l.ok(t, "start", "c1")
		require.Equal(t, specs.StateRunning, l.state(t, "c1").Status)
		l.ok(t, "delete", "--force", "c1")
		l.clean(t)
	}
}

// TestDeleteTogether: of several that delete a container one does, and the others are told that there is none.
func TestDeleteTogether(t *testing.T) {
	l := newLife(t)
	l.create(t, "c1")
	l.ok(t, "start", "c1")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := l.cmd(t, "delete", "--force", "c1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	l.clean(t)
}

// TestDeleteKilled kills a delete at any moment: the next one does the rest.
func TestDeleteKilled(t *testing.T) {
	l := newLife(t)
	for i := range 10 {
		l.create(t, "c1")
		cmd := l.cmd(t, "delete", "--force", "c1")
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		ok(t, l.root, "delete", "--force", "c1")
		l.clean(t)
	}
}

// TestCreateKilledWithoutGroup: an ordinary user's container may have no control group by which its process would be found.
func TestCreateKilledWithoutGroup(t *testing.T) {
	testenv.RequireCommand(t, "unshare", "umount")
	l := newLife(t)
	makeRootless(l.spec)
	l.spec.Linux.CgroupsPath = ""
	l.write(t)
	self, err := os.Executable()
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "minirunc")
	require.NoError(t, os.Symlink(self, link))
	create := func() *exec.Cmd {
		return exec.Command("unshare", "--mount", "sh", "-c", `umount -R /sys/fs/cgroup; exec "$@"`, "sh",
			link, "--root", l.root, "--rootless", "true", "create", "--bundle", l.dir, "c1")
	}
	start := time.Now()
	if r := runAside(t, create()); r.code != 0 {
		t.Fatal(r.stderr)
	}
	whole := time.Since(start)
	k, err := (&command{root: l.root}).open("c1")
	require.NoError(t, err)
	require.Empty(t, k.Group)
	l.ok(t, "start", "c1")
	fails(t, l.root, errNoGroup.Error(), "pause", "c1")
	ok(t, l.root, "kill", "--all", "c1", "KILL")
	require.NoError(t, k.Wait(t.Context()))
	ok(t, l.root, "kill", "--all", "c1", "KILL")
	ok(t, l.root, "delete", "c1")
	for range 10 {
		cmd := create()
		require.NoError(t, cmd.Start())
		time.Sleep(whole/2 + time.Duration(rand.Int64N(int64(whole/2))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ok(t, l.root, "delete", "--force", "c1")
	}
	l.clean(t)
}
