package cgroups

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

func newV2Manager(t testing.TB) *Manager {
	t.Helper()
	m := newManager(t)
	if m.Mode() != V2 {
		t.Skip("needs a pure cgroup v2 host")
	}
	return m
}

// runNested runs the program cg-nested in g as user uid, and returns the lines it prints.
func runNested(t testing.TB, g *Group, uid uint32) []string {
	t.Helper()
	dir, ok := g.Dir()
	require.True(t, ok)
	c := exec.Command(testenv.NewRootfs(t, "cg-nested") + "/bin/cg-nested") // not all users can reach the test binary
	c.Dir = "/"
	c.Stdin = strings.NewReader("go\n")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if uid != 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Split(strings.TrimSpace(string(out)), "\n")[1:]
}

// TestParentBusy: a program in a group of its own may hand controllers down only when it has moved out of the way.
func TestParentBusy(t *testing.T) {
	m := newV2Manager(t)
	g := newGroup(t, m, nil)
	lines := runNested(t, g, 0)
	require.Len(t, lines, 4)
	require.Regexp(t, "^busy .*Memory 67108864.*Evacuate", lines[0])
	require.Equal(t, "created 0 <nil> <nil>", lines[1], "without limits it does")
	require.Equal(t, "evacuate <nil>", lines[2])
	require.Equal(t, "created 67108864 <nil> <nil>", lines[3])
}

// TestDelegated is the same as an ordinary user: without delegation it says so, with it all works.
func TestDelegated(t *testing.T) {
	m := newV2Manager(t)
	g := newGroup(t, m, nil)
	lines := runNested(t, g, 1000)
	require.Len(t, lines, 4)
	require.Regexp(t, "^denied .*Delegate", lines[0])
	require.Regexp(t, "^denied .*Delegate", lines[1])
	require.Regexp(t, "^evacuate mkdir .*Delegate", lines[2])

	g = newGroup(t, m, nil)
	for _, f := range []string{".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		require.NoError(t, os.Chown(filepath.Join(g.Paths()[0], f), 1000, 1000))
	}
	lines = runNested(t, g, 1000)
	require.Len(t, lines, 4)
	require.Regexp(t, "^busy ", lines[0])
	require.Equal(t, "created 0 <nil> <nil>", lines[1])
	require.Equal(t, "evacuate <nil>", lines[2])
	require.Equal(t, "created 67108864 <nil> <nil>", lines[3])
}

// fakeV2 is a Manager on a plain folder in which control files appear as the kernel would make them. It sees what is
// written where the kernel could not do it.
func fakeV2(t testing.TB) *Manager {
	t.Helper()
	m, base, err := newFake(t, line("/", "x", "rw", "cgroup2", "rw"), "0::/\n", "x")
	require.NoError(t, err)
	populate := func(dir string) {
		for name, content := range map[string]string{
			"cgroup.controllers": "cpu cpuset memory pids io\n", "cgroup.subtree_control": "", "cgroup.procs": "",
			"memory.max": "max\n", "memory.swap.max": "max\n", "memory.low": "0\n", "memory.oom.group": "0\n",
			"memory.current": "0\n", "cpu.max": "max 100000\n", "cpu.weight": "100\n", "pids.max": "max\n",
			"cpuset.cpus": "\n", "cpuset.mems": "\n", "cpuset.cpus.effective": "0-3\n", "cpuset.mems.effective": "0\n",
			"memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n", "cgroup.freeze": "0",
			"memory.peak": "4096\n", "memory.stat": "anon 10\nfile 20\ninactive_file 5\n", "pids.current": "3\n",
			"pids.events": "max 7\n", "cpu.stat": "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_throttled 2\n",
			"io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n", "cgroup.events": "populated 1\nfrozen 1\n",
			"cpu.pressure": "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		}
	}
	populate(filepath.Join(base, "x"))
	m.unified.available = m.topControllers(m.unified)
	require.NoError(t, m.settle(0))
	m.hook = func(step, path string) error {
		switch step {
		case "open":
			populate(path)
		case "write":
			return os.Truncate(path, 0)
		case "rmdir":
			files, _ := filepath.Glob(path + "/*")
			for _, f := range files {
				_ = os.Remove(f)
			}
		}
		return nil
	}
	return m
}

func TestV2Files(t *testing.T) {
	m := fakeV2(t)
	r := everything()
	r.MemorySwap, r.AllDevices, r.OOMGroup, r.CPUs = 96<<20, true, true, "1-2"
	g, err := m.Create("between/g", r)
	require.NoError(t, err)
	defer g.Close()
	for file, want := range map[string]string{
		"memory.max": "67108864", "memory.swap.max": "33554432", "memory.low": "33554432", "memory.oom.group": "1",
		"cpu.max": "50000 50000", "cpu.weight": itoa(int64(Weight(512))), "cpuset.cpus": "1-2", "cpuset.mems": "0",
		"pids.max": "100", "../cgroup.subtree_control": "+io +memory +cpu +cpuset +pids",
		"../../cgroup.subtree_control": "+io +memory +cpu +cpuset +pids",
	} {
		b, err := os.ReadFile(filepath.Join(g.Paths()[0], file))
		require.NoError(t, err)
		if strings.HasSuffix(file, "subtree_control") {
			require.ElementsMatch(t, strings.Fields(want), strings.Fields(string(b)), file)
		} else {
			require.Equal(t, want, string(b), file)
		}
	}
	require.NoError(t, g.Update(&Resources{MemorySwap: 64 << 20, CPUQuota: Unlimited, MemoryReservation: Unlimited}))
	require.Equal(t, "0", value(t, g, "memory", "memory.swap.max"))
	require.Equal(t, "0", value(t, g, "memory", "memory.low"))
	require.Equal(t, "max", value(t, g, "cpu", "cpu.max"))
	for field, r := range map[string]*Resources{"CPUs": {CPUs: "3-4"}, "Mems": {Mems: "1"}} {
		var re *ResourceError
		require.ErrorAs(t, g.Update(r), &re)
		require.Equal(t, field, re.Field)
	}

	s, err := g.Stats()
	require.NoError(t, err)
	require.Equal(t, Memory{Limit: 64 << 20, Peak: 4096, Anon: 10, File: 20, InactiveFile: 5, OOMKills: 2,
		OOMGroupKills: 1, LimitHits: 9, Detail: map[string]uint64{"anon": 10, "file": 20, "inactive_file": 5}}, s.Memory)
	require.Equal(t, Pids{Current: 3, Limit: 100, Refused: 7}, s.Pids)
	require.Equal(t, IO{1, 2, 3, 4, []IODeviceStats{
		{Major: 8, ReadBytes: 1, WriteBytes: 2, Reads: 3, Writes: 4}}}, s.IO)
	require.Equal(t, CPU{Usage: micros(10), User: micros(6), System: micros(4), Throttled: 2}, s.CPU)
	require.Equal(t, 1.0, s.CPUPressure.Some.Avg10)
	require.Nil(t, s.MemoryPressure)
	require.NoError(t, g.Freeze(t.Context()))
	require.Equal(t, "1", value(t, g, "memory", "cgroup.freeze"))
	require.NoError(t, g.Remove())
}

// TestUpdateEnables: a limit whose controller the group was made without can be set later.
func TestUpdateEnables(t *testing.T) {
	m := newV2Manager(t)
	g, err := m.Create("/"+testenv.CgroupName(t)+"/x", nil)
	require.NoError(t, err)
	cleanGroup(t, g)
	_, err = readFile(g.unified().dir, "cpuset.cpus")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, g.Update(&Resources{CPUs: "0"}))
	b, err := readFile(g.unified().dir, "cpuset.cpus")
	require.NoError(t, err)
	require.Equal(t, "0\n", string(b))
}
