package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// disk returns the number of a block device of this machine, "254:0".
func disk(t testing.TB) (d IODevice, number string) {
	t.Helper()
	all, _ := filepath.Glob("/sys/block/*/dev")
	slices.SortFunc(all, func(a, b string) int { return rankDisk(a) - rankDisk(b) })
	if len(all) == 0 {
		t.Skip("needs a block device")
	}
	b, err := os.ReadFile(all[0])
	require.NoError(t, err)
	number = strings.TrimSpace(string(b))
	major, minor, _ := strings.Cut(number, ":")
	d.Major, err = parseNumber(major)
	require.NoError(t, err)
	d.Minor, err = parseNumber(minor)
	require.NoError(t, err)
	return d, number
}

func rankDisk(path string) int {
	for i, prefix := range []string{"/sys/block/loop", "/sys/block/ram", "/sys/block/zram", "/sys/block/nbd"} {
		if strings.HasPrefix(path, prefix) {
			return i + 1
		}
	}
	return 0
}

// A limitTest is a limit and the file that it must be found in, in a group of each version; a limit without a file
// there must be refused.
type limitTest struct {
	field      string
	r          Resources
	controller string // of v1, if v2 has another name for it: "blkio/io"
	v1, want1  string
	v2, want2  string
}

func limitTests(t testing.TB) []limitTest {
	off, on, class, swappiness := false, true, uint32(0x100001), uint64(35)
	d, number := disk(t)
	d.ReadBytes, d.WriteBytes, d.ReadOps, d.WriteOps = 1<<20, 1<<21, 100, 200
	weighed := IODevice{Major: d.Major, Minor: d.Minor, Weight: 300}
	return []limitTest{
		{"KernelTCPMemory", Resources{KernelTCPMemory: 1 << 20}, "memory", "memory.kmem.tcp.limit_in_bytes", "1048576", "", ""},
		{"Swappiness", Resources{Swappiness: &swappiness}, "memory", "memory.swappiness", "35", "", ""},
		{"OOMKillDisable", Resources{OOMKillDisable: &on, Memory: 64 << 20}, "memory",
			"memory.oom_control", "oom_kill_disable 1", "", ""},
		{"OOMKillDisable", Resources{OOMKillDisable: &off, Memory: 64 << 20}, "memory",
			"memory.oom_control", "oom_kill_disable 0", "memory.max", "67108864"},
		{"CPUBurst", Resources{CPUQuota: 50 * time.Millisecond, CPUBurst: 20 * time.Millisecond}, "cpu",
			"cpu.cfs_burst_us", "20000", "cpu.max.burst", "20000"},
		{"CPUIdle", Resources{CPUIdle: &on}, "cpu", "cpu.idle", "1", "cpu.idle", "1"},
		{"Realtime", Resources{RealtimeRuntime: time.Millisecond, RealtimePeriod: 500 * time.Millisecond}, "cpu",
			"cpu.rt_runtime_us", "1000", "", ""},
		{"IOWeight", Resources{IOWeight: 500}, "blkio/io", "blkio.bfq.weight", "500",
			"io.weight", "default 4950"},
		{"IODevices", Resources{IODevices: []IODevice{d}}, "blkio/io",
			"blkio.throttle.write_iops_device", number + " 200",
			"io.max", number + " rbps=1048576 wbps=2097152 riops=100 wiops=200"},
		{"IODevices[" + number + "].Weight", Resources{IODevices: []IODevice{weighed}}, "blkio/io",
			"blkio.bfq.weight_device", number + " 300", "io.weight", number + " 2930"},
		{"Hugepages[2MB]", Resources{Hugepages: []HugepageLimit{{"2MB", 4<<20 + 5}}}, "hugetlb",
			"hugetlb.2MB.limit_in_bytes", "4194304", "hugetlb.2MB.max", "4194304"},
		{"Hugepages[2MB]", Resources{Hugepages: []HugepageLimit{{"2MB", 0}}}, "hugetlb",
			"hugetlb.2MB.rsvd.limit_in_bytes", "0", "hugetlb.2MB.rsvd.max", "0"},
		{"NetClass", Resources{NetClass: &class}, "net_cls", "net_cls.classid", "1048577", "", ""},
		{"NetPriorities[lo]", Resources{NetPriorities: []NetPriority{{"lo", 5}}}, "net_prio",
			"net_prio.ifpriomap", "lo 5", "", ""},
		{"Unified[memory.high]", Resources{Unified: map[string]string{"memory.high": "33554432"}}, "memory", "", "",
			"memory.high", "33554432"},
		{"Unified[cgroup.max.depth]", Resources{Unified: map[string]string{"cgroup.max.depth": "3\n"}}, "cgroup", "", "",
			"cgroup.max.depth", "3"},
		{"Unified[io.max]", Resources{Unified: map[string]string{"io.max": number + " rbps=65536\n" + number + " wiops=7\n"}},
			"io", "", "", "io.max", number + " rbps=65536 wbps=max riops=max wiops=7"},
	}
}

// TestEachLimit sets each limit: it is in force then, or refused by its name as not to be had here, and rightly so.
func TestEachLimit(t *testing.T) {
	m := newManager(t)
	plain := newGroup(t, m, nil)
	for _, c := range limitTests(t) {
		t.Run(c.field, func(t *testing.T) {
			controller, file, want := c.place(m)
			name := testenv.CgroupName(t)
			g, err := m.Create(name, &c.r)
			if err != nil {
				requireUnsupported(t, err, c.field)
				require.False(t, c.available(m, plain, controller, file), "%s is there: %v", file, err)
				for _, h := range m.hierarchies {
					require.NoDirExists(t, filepath.Join(h.path, name))
				}
				return
			}
			cleanGroup(t, g)
			require.NotEmpty(t, file, "it must be refused here")
			n := g.unified()
			if controller != "cgroup" {
				n, err = g.node(controller)
				require.NoError(t, err)
			}
			b, err := os.ReadFile(n.path + "/" + file)
			require.NoError(t, err)
			require.Contains(t, lines(string(b)), want, file)

			// And again in a group that is there.
			later := newGroup(t, m, &Resources{Memory: 128 << 20, IOWeight: c.r.IOWeight})
			require.NoError(t, later.Update(&c.r))
		})
	}
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// place says where the limit is to be found on this layout.
func (c limitTest) place(m *Manager) (controller, file, want string) {
	controller, on2, renamed := strings.Cut(c.controller, "/")
	if renamed && m.controllers[controller] == nil {
		controller = on2
	}
	h := m.controllers[controller]
	if h != nil && h.unified || h == nil && m.unified != nil {
		return controller, c.v2, c.want2
	}
	return controller, c.v1, c.want1
}

// available says whether the layout has the file. That of a device's weight is there when it cannot be used.
func (c limitTest) available(m *Manager, plain *Group, controller, file string) bool {
	if file == "" || strings.HasSuffix(c.field, "].Weight") {
		return false
	}
	if controller == "cgroup" {
		return m.unified != nil
	}
	h := m.controllers[controller]
	if h == nil {
		return false
	}
	return plain.has(h, file)
}

func (g *Group) has(h *hierarchy, file string) bool {
	n := g.in(h)
	if n == nil {
		return false
	}
	_, err := os.Stat(n.path + "/" + file)
	return err == nil
}

func requireUnsupported(t testing.TB, err error, field string) {
	t.Helper()
	var re *ResourceError
	require.ErrorAs(t, err, &re)
	require.True(t, strings.HasPrefix(re.Field, field), "%s, not %s", re.Field, field)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestUpdateBurst raises and lowers quota and burst together, which needs another order each time.
func TestUpdateBurst(t *testing.T) {
	m := newManager(t)
	const ms = time.Millisecond
	g := newGroup(t, m, &Resources{CPUQuota: 20 * ms, CPUBurst: 10 * ms})
	get := func() string { return value(t, g, "cpu", "cpu.max.burst", "cpu.cfs_burst_us") }
	require.Equal(t, "10000", get())
	require.NoError(t, g.Update(&Resources{CPUQuota: 80 * ms, CPUBurst: 60 * ms}))
	require.Equal(t, "60000", get())
	require.NoError(t, g.Update(&Resources{CPUQuota: 20 * ms, CPUBurst: 5 * ms}))
	require.Equal(t, "5000", get())
	err := g.Update(&Resources{CPUQuota: 2 * ms})
	require.ErrorContains(t, err, "CPUBurst in force")
	require.NoError(t, g.Update(&Resources{CPUBurst: Unlimited}))
	require.Equal(t, "0", get())
	require.NoError(t, g.Update(&Resources{CPUQuota: 2 * ms}))
}

// TestUpdateIdle: an idle group takes no weight until it is not idle any more, in one step.
func TestUpdateIdle(t *testing.T) {
	m := newManager(t)
	on, off := true, false
	g := newGroup(t, m, &Resources{CPUShares: 2048})
	require.NoError(t, g.Update(&Resources{CPUIdle: &on}))
	require.Equal(t, "1", value(t, g, "cpu", "cpu.idle"))
	require.ErrorContains(t, g.Update(&Resources{CPUShares: 512}), "idle")
	require.NoError(t, g.Update(&Resources{CPUIdle: &off, CPUShares: 512}))
	require.Equal(t, "0", value(t, g, "cpu", "cpu.idle"))
	require.Contains(t, []string{"512", itoa(int64(Weight(512)))}, value(t, g, "cpu", "cpu.shares", "cpu.weight"))
}

// TestUpdateRealtime changes both numbers up and down in one step each.
func TestUpdateRealtime(t *testing.T) {
	m := newManager(t)
	const ms = time.Millisecond
	name := testenv.CgroupName(t)
	g, err := m.Create(name, &Resources{RealtimeRuntime: 2 * ms, RealtimePeriod: 100 * ms})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs CONFIG_RT_GROUP_SCHED and the cpu controller on cgroup v1")
	}
	require.NoError(t, err)
	cleanGroup(t, g)
	for _, step := range [][2]time.Duration{{4 * ms, 200 * ms}, {ms, 3 * ms}, {50 * ms, 1000 * ms}, {5 * ms, 0}} {
		require.NoError(t, g.Update(&Resources{RealtimeRuntime: step[0], RealtimePeriod: step[1]}), "%v", step)
		require.Equal(t, itoa(step[0].Microseconds()), value(t, g, "cpu", "cpu.rt_runtime_us"))
	}
	require.Equal(t, "1000000", value(t, g, "cpu", "cpu.rt_period_us"))
	err = g.Update(&Resources{RealtimeRuntime: time.Second})
	require.ErrorContains(t, err, "group above")
	var re *ResourceError
	require.ErrorAs(t, err, &re)
	require.Equal(t, "RealtimeRuntime", re.Field)
}

// TestUpdateIO changes limits on a device and lifts them.
func TestUpdateIO(t *testing.T) {
	m := newManager(t)
	d, number := disk(t)
	d.ReadBytes, d.WriteOps = 1<<20, 50
	g := newGroup(t, m, &Resources{IODevices: []IODevice{d}})
	get := func() string { return value(t, g, m.ioController(), "io.max", "blkio.throttle.read_bps_device") }
	require.Contains(t, []string{number + " 1048576", number + " rbps=1048576 wbps=max riops=max wiops=50"}, get())
	d.ReadBytes, d.WriteOps = Unlimited, 0
	require.NoError(t, g.Update(&Resources{IODevices: []IODevice{d}}))
	require.Contains(t, []string{"", number + " rbps=max wbps=max riops=max wiops=50"}, get())
	d = IODevice{Major: 4000, Minor: 5, ReadOps: 3}
	err := g.Update(&Resources{IODevices: []IODevice{d}})
	require.ErrorContains(t, err, "IODevices[4000:5].ReadOps")
	require.ErrorContains(t, err, "/proc/partitions")
}
