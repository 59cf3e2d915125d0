package cgroups

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

func TestDetectThisHost(t *testing.T) {
	m := newManager(t)
	require.Contains(t, []Mode{V1, Hybrid, V2}, m.Mode())
	for _, c := range []string{"cpu", "memory", "pids", "cpuset"} {
		require.Contains(t, m.Controllers(), c)
	}
	t.Logf("mode %v, controllers %v", m.Mode(), m.Controllers())
}

func TestCreateExists(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	_, err := m.Create(g.Name(), nil)
	require.ErrorIs(t, err, fs.ErrExist)
	for _, path := range g.Paths() {
		require.DirExists(t, path)
	}
	_, err = m.Open("caisson-test-no-such-group")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestCreateNested(t *testing.T) {
	m := newManager(t)
	top := testenv.CgroupName(t)
	a, err := m.Create(top+"/sub/a", &Resources{Memory: 64 << 20, Pids: 10})
	require.NoError(t, err)
	cleanGroup(t, a)
	b, err := m.Create(top+"/sub/b", &Resources{Memory: 64 << 20})
	require.NoError(t, err)
	list, err := m.List(top + "/sub")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, list)

	h := newHelper(t, b, "cg-sleep")
	pids, err := b.Pids()
	require.NoError(t, err)
	require.Equal(t, []int{h.pid()}, pids)

	// What b's parents made is a's too: it stays until a goes.
	require.NoError(t, b.Kill(t.Context()))
	h.wait()
	require.NoError(t, b.Remove())
	require.NoError(t, b.Close())
	for _, path := range a.Paths() {
		require.DirExists(t, path)
	}
}

func TestCreateAbsolute(t *testing.T) {
	m := newManager(t)
	name := "/" + testenv.CgroupName(t) + "/x"
	g, err := m.Create(name, &Resources{Memory: 64 << 20, CPUQuota: 50 * time.Millisecond, Pids: 10})
	require.NoError(t, err)
	cleanGroup(t, g)
	h := newHelper(t, g, "cg-sleep")
	b, err := os.ReadFile("/proc/" + strconv.Itoa(h.pid()) + "/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		require.Contains(t, line, ":"+name+"\n")
	}

	again, err := m.Open(name)
	require.NoError(t, err)
	defer again.Close()
	pids, err := again.Pids()
	require.NoError(t, err)
	require.Equal(t, []int{h.pid()}, pids)
}

// TestCreateBelowUnfinished: a group between that another program is making has no CPUs yet; who goes on below it gives it its own.
func TestCreateBelowUnfinished(t *testing.T) {
	m := newManager(t)
	parent := testenv.CgroupName(t)
	var second *Group
	m.hook = func(step, _ string) (err error) {
		if step == "inherit" {
			m.hook = nil
			if second, err = m.Create(parent+"/b", &Resources{Pids: 10}); err != nil {
				return err
			}
			newHelper(t, second, "cg-sleep") // it joins
		}
		return nil
	}
	first, err := m.Create(parent+"/a", &Resources{Pids: 10})
	require.NoError(t, err)
	newHelper(t, first, "cg-sleep")
	for _, g := range []*Group{first, second} {
		if g != nil {
			require.NoError(t, g.Kill(t.Context()))
			require.NoError(t, g.Remove())
			require.NoError(t, g.Close())
		}
	}
	if second == nil {
		require.False(t, slices.ContainsFunc(m.hierarchies, func(h *hierarchy) bool { return h.has("cpuset") && !h.unified }))
	}
}

// TestTasks joins as the launch does: the process itself writes "0" to inherited files.
func TestTasks(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	files, err := g.Tasks()
	require.NoError(t, err)
	again, err := g.Tasks()
	require.NoError(t, err)
	require.Equal(t, files, again)
	require.NotEmpty(t, files)

	c := exec.Command("/proc/self/exe")
	c.Args = []string{"cg-join", strconv.Itoa(len(files))}
	c.ExtraFiles = files
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	joined := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasSuffix(line, "/"+g.Name()+"\n") {
			joined++
		}
	}
	require.Equal(t, len(files), joined, "%s", out)
}

// CloseTasks closes all that a way into the group takes, and that can be had again.
func TestCloseTasks(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	before := count()
	for range 2 {
		dir, tasks, err := g.Entry()
		require.NoError(t, err)
		require.True(t, dir != nil || len(tasks) > 0)
		require.Greater(t, count(), before)
		g.CloseTasks()
		require.Equal(t, before, count())
	}
}

func TestMemoryHogIsKilled(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{Memory: 32 << 20, MemorySwap: 32 << 20})
	kills, err := g.OOMKills()
	require.NoError(t, err)
	require.Zero(t, kills)

	h := newHelper(t, g, "cg-hog", "128")
	h.say("go")
	require.Equal(t, syscall.SIGKILL, h.wait())
	s, err := g.Stats()
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Memory.OOMKills)
	require.EqualValues(t, 32<<20, s.Memory.Limit)
	require.Less(t, s.Memory.Peak, int64(33<<20)) // some charges may pass the limit for a moment
	if m.Mode() != V2 || kernelAtLeast(t, 5, 19) {
		require.Greater(t, s.Memory.Peak, int64(24<<20))
	}
	require.Positive(t, s.CPU.Usage)
}

// TestKillIsNoOOM: what is killed otherwise is not counted.
func TestKillIsNoOOM(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{Memory: 64 << 20})
	h := newHelper(t, g, "cg-hog", "16")
	h.say("go")
	require.Equal(t, "done", h.line())
	s, err := g.Stats()
	require.NoError(t, err)
	require.Greater(t, s.Memory.Current, int64(16<<20))
	require.GreaterOrEqual(t, s.Memory.Anon, int64(16<<20))
	require.NoError(t, g.Kill(t.Context()))
	require.Equal(t, syscall.SIGKILL, h.wait())
	kills, err := g.OOMKills()
	require.NoError(t, err)
	require.Zero(t, kills)
}

// TestOOMKillsBelow counts kills in a group that a container made inside its own.
func TestOOMKillsBelow(t *testing.T) {
	m := newManager(t)
	top := testenv.CgroupName(t)
	inner, err := m.Create(top+"/inner", &Resources{Memory: 32 << 20, MemorySwap: 32 << 20})
	require.NoError(t, err)
	cleanGroup(t, inner)
	outer, err := m.Open(top)
	require.NoError(t, err)
	defer outer.Close()
	h := newHelper(t, inner, "cg-hog", "128")
	h.say("go")
	require.Equal(t, syscall.SIGKILL, h.wait())
	kills, err := outer.OOMKills()
	require.NoError(t, err)
	require.EqualValues(t, 1, kills)
}

func TestOOMGroup(t *testing.T) {
	m := newManager(t)
	if m.Mode() != V2 {
		_, err := m.Create(testenv.CgroupName(t), &Resources{Memory: 32 << 20, OOMGroup: true})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		var re *ResourceError
		require.ErrorAs(t, err, &re)
		require.Equal(t, "OOMGroup", re.Field)
		return
	}
	testenv.ReapOrphans(t)
	g := newGroup(t, m, &Resources{Memory: 48 << 20, MemorySwap: 48 << 20, OOMGroup: true})
	h := newHelper(t, g, "cg-grow", "128")
	h.say("go")
	require.Equal(t, syscall.SIGKILL, h.wait())
	s, err := g.Stats()
	require.NoError(t, err)
	require.GreaterOrEqual(t, s.Memory.OOMKills, uint64(3), "three processes")
	if kernelAtLeast(t, 5, 17) {
		require.Positive(t, s.Memory.OOMGroupKills)
	}
}

func TestQuotaThrottles(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{CPUQuota: 20 * time.Millisecond, CPUPeriod: 100 * time.Millisecond})
	newHelper(t, g, "cg-burn")
	before, err := g.Stats()
	require.NoError(t, err)
	start := time.Now()
	time.Sleep(time.Second)
	var after *Stats
	require.Eventually(t, func() bool { // on a busy machine it may have less than the quota for a while
		after, err = g.Stats()
		return err != nil || after.CPU.Throttled > before.CPU.Throttled
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, err)
	elapsed := time.Since(start)
	used := after.CPU.Usage - before.CPU.Usage
	require.Less(t, used, elapsed/2, "in %v: a fifth, and what a slow machine adds", elapsed)
	require.Positive(t, used)
	require.Greater(t, after.CPU.ThrottledTime, before.CPU.ThrottledTime)
	require.Positive(t, after.CPU.User)
}

func TestPidsStopForkBomb(t *testing.T) {
	m := newManager(t)
	testenv.ReapOrphans(t)
	g := newGroup(t, m, &Resources{Pids: 40})
	h := newHelper(t, g, "cg-bomb", "200")
	h.say("go")
	line := h.line()
	require.Regexp(t, `^refused \d+ true$`, line)
	s, err := g.Stats()
	require.NoError(t, err)
	require.EqualValues(t, 40, s.Pids.Limit)
	require.Positive(t, s.Pids.Refused)
	require.LessOrEqual(t, s.Pids.Current, int64(40))
	pids, err := g.Pids()
	require.NoError(t, err)
	require.Greater(t, len(pids), 1)

	require.NoError(t, g.Kill(t.Context()))
	pids, err = g.Pids()
	require.NoError(t, err)
	require.Empty(t, pids)
}

func TestFreeze(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	newHelper(t, g, "cg-burn")
	usage := func() time.Duration {
		s, err := g.Stats()
		require.NoError(t, err)
		return s.CPU.Usage
	}
	require.NoError(t, g.Freeze(t.Context()))
	frozen, err := g.Frozen()
	require.NoError(t, err)
	require.True(t, frozen)
	before := usage()
	time.Sleep(100 * time.Millisecond)
	require.Less(t, usage()-before, 5*time.Millisecond)

	require.NoError(t, g.Thaw())
	before = usage()
	require.Eventually(t, func() bool { return usage() > before+10*time.Millisecond }, time.Minute, 5*time.Millisecond)
	frozen, err = g.Frozen()
	require.NoError(t, err)
	require.False(t, frozen)
}

func TestKillFrozen(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	h := newHelper(t, g, "cg-sleep")
	require.NoError(t, g.Freeze(t.Context()))
	require.NoError(t, g.Kill(t.Context()))
	require.Equal(t, syscall.SIGKILL, h.wait())
}

func TestKillEnded(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	newHelper(t, g, "cg-sleep")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Kill(ctx); err != nil { // it may be quick enough
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestRemoveBusy(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	h := newHelper(t, g, "cg-sleep")
	start := time.Now()
	err := g.Remove()
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorContains(t, err, strconv.Itoa(h.pid()))
	require.Less(t, time.Since(start), removeWait+time.Minute)
}

// TestRemoveTree: a container that may write to its cgroup file system makes deep and wide trees.
func TestRemoveTree(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	for _, path := range g.Paths() {
		deep := path
		for range 30 {
			deep = filepath.Join(deep, "d")
			require.NoError(t, os.Mkdir(deep, 0o755))
		}
		for i := range 30 {
			require.NoError(t, os.Mkdir(filepath.Join(path, "w"+strconv.Itoa(i)), 0o755))
		}
	}
	require.NoError(t, g.Remove())
	for _, path := range g.Paths() {
		require.NoDirExists(t, path)
	}
	require.NoError(t, g.Remove(), "a second time")
}

func TestUseAfterClose(t *testing.T) {
	m := newManager(t)
	g, err := m.Create(testenv.CgroupName(t), nil)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.NoError(t, g.Close())
	_, err = g.Stats()
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = g.Tasks()
	require.ErrorIs(t, err, os.ErrClosed)
	require.ErrorIs(t, g.Update(&Resources{Pids: 5}), os.ErrClosed)
	require.ErrorIs(t, g.Freeze(t.Context()), os.ErrClosed)
	require.NoError(t, g.Remove())
	again, err := m.Create(g.Name(), nil)
	require.NoError(t, err)
	require.NoError(t, again.Remove())
	require.NoError(t, again.Close())
}

func kernelAtLeast(t testing.TB, major, minor int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	require.NoError(t, err)
	f := strings.SplitN(string(b), ".", 3)
	have, err := strconv.Atoi(f[0])
	require.NoError(t, err)
	haveMinor, err := strconv.Atoi(strings.TrimRight(f[1], "-abcdefghijklmnopqrstuvwxyz\n"))
	require.NoError(t, err)
	return have > major || have == major && haveMinor >= minor
}
