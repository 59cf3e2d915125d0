package cgroups

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseMountinfo(t *testing.T) {
	mounts, err := parseMountinfo([]byte(strings.Join([]string{
		`22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw`,
		`31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 master:3 - cgroup cgroup rw,cpu,cpuacct`,
		`32 30 0:29 /docker/a /sys/fs/cgroup/name\040with\134odd ro - cgroup none rw,name=systemd`,
		`40 30 0:37 /../.. /x rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot`,
	}, "\n") + "\n"))
	require.NoError(t, err)
	require.Equal(t, []mount{
		{root: "/", point: "/sys/fs/cgroup/cpu,cpuacct", options: []string{"rw", "cpu", "cpuacct"}},
		{root: "/docker/a", point: `/sys/fs/cgroup/name with\odd`, options: []string{"rw", "name=systemd"}, readOnly: true},
		{unified: true, root: "/../..", point: "/x", options: []string{"rw", "nsdelegate", "memory_recursiveprot"}},
	}, mounts)
	for _, bad := range []string{"x", "1 2 0:1 / / rw", "1 2 0:1 / / rw -", "1 2 0:1 / / rw - cgroup",
		"1 2 0:1 a /b rw - cgroup cgroup rw", "1 2 0:1 / b rw - cgroup cgroup rw"} {
		_, err := parseMountinfo([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestParseProcGroup(t *testing.T) {
	list, err := parseProcGroup([]byte("9:name=systemd:/\n4:cpu,cpuacct:/a:b/c\n0::/../x (deleted)\n"))
	require.NoError(t, err)
	require.Equal(t, []membership{
		{controllers: []string{"name=systemd"}, path: "/"},
		{controllers: []string{"cpu", "cpuacct"}, path: "/a:b/c"},
		{path: "/../x"},
	}, list)
	for _, bad := range []string{"0:/", "0::", "0::a", ":"} {
		_, err := parseProcGroup([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		root, path, rel string
		ok              bool
	}{
		{"/", "/", "", true},
		{"/", "/a/b", "a/b", true},
		{"/docker/x", "/docker/x", "", true},
		{"/docker/x", "/docker/x/y", "y", true},
		{"/docker/x", "/docker/xy", "", false},
		{"/docker/x", "/", "", false},
		{"/", "/../a", "", false}, // the program is outside of its namespace's root
		{"/..", "/", "", false},   // the mount is from the namespace above
		{"/..", "/../a/b", "a/b", true},
		{"/..", "/../../a", "", false},
	} {
		rel, ok := below(c.root, c.path)
		require.Equal(t, c.ok, ok, c)
		require.Equal(t, c.rel, strings.Join(rel, "/"), c)
	}
}

func TestSplitPath(t *testing.T) {
	for _, bad := range []string{"", "/", "a/", "a//b", ".", "..", "a/..", "../a", "/..", "a/./b", "a\x00b", "a\nb",
		"cgroup.procs", strings.Repeat("a", 256), strings.Repeat("a/", 1500) + "a"} {
		_, _, err := splitPath(bad)
		require.Error(t, err, "%q", bad)
	}
	names, absolute, err := splitPath("/a/b c")
	require.NoError(t, err)
	require.True(t, absolute)
	require.Equal(t, []string{"a", "b c"}, names)
	_, absolute, err = splitPath("...")
	require.NoError(t, err)
	require.False(t, absolute)
}

func TestParseNumber(t *testing.T) {
	for s, want := range map[string]int64{"0\n": 0, "max\n": -1, "9223372036854771712\n": -1, "12": 12,
		"9223372036854775807": -1, "18446744073709551615": -1} {
		n, err := parseNumber(s)
		require.NoError(t, err)
		require.Equal(t, want, n, s)
	}
	for _, s := range []string{"", "-1", "x", "1 2"} {
		_, err := parseNumber(s)
		require.Error(t, err)
	}
}

func TestParsePressure(t *testing.T) {
	p, err := parsePressure([]byte("some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n" +
		"full avg10=0.50 avg60=0.10 avg300=0.01 total=99\n"))
	require.NoError(t, err)
	require.Equal(t, &Pressure{
		Some: Stall{Avg10: 1.5, Avg60: 0.25, Total: 12345 * time.Microsecond},
		Full: Stall{Avg10: 0.5, Avg60: 0.1, Avg300: 0.01, Total: 99 * time.Microsecond},
	}, p)
	_, err = parsePressure([]byte("some avg10=x\n"))
	require.Error(t, err)
	_, err = parsePressure(nil)
	require.Error(t, err)
}

func TestParseIO(t *testing.T) {
	require.Equal(t, IO{ReadBytes: 11, WriteBytes: 22, Reads: 3, Writes: 4, Devices: []IODeviceStats{
		{Major: 8, ReadBytes: 1, WriteBytes: 2, Reads: 3, Writes: 4, DiscardBytes: 5, Discards: 6},
		{Major: 8, Minor: 16, ReadBytes: 10, WriteBytes: 20},
	}}, parseIO([]byte("8:16 rbytes=10 wbytes=20\n8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \nx y=1\n")))
	require.Equal(t, IO{ReadBytes: 12, WriteBytes: 6, Reads: 2, Devices: []IODeviceStats{
		{Major: 8, ReadBytes: 5, WriteBytes: 6, Reads: 2, Discards: 9}, {Major: 8, Minor: 16, ReadBytes: 7},
	}}, parseBlkio([]byte("8:0 Read 5\n8:0 Write 6\n8:0 Sync 1\n8:16 Read 7\nTotal 12\n"),
		[]byte("8:0 Read 2\n8:0 Discard 9\nTotal 11\n")))
	list, err := parsePerCPU([]byte("5 18446744073709551615 \n"))
	require.NoError(t, err)
	require.Equal(t, []time.Duration{5, math.MaxInt64}, list)
	_, err = parsePerCPU([]byte("5 x\n"))
	require.Error(t, err)
}

func TestMemoryUsed(t *testing.T) {
	require.EqualValues(t, 7, Memory{Current: 10, InactiveFile: 3}.Used())
	require.Zero(t, Memory{Current: 1, InactiveFile: 3}.Used())
}

func TestDurations(t *testing.T) {
	require.Equal(t, 5*time.Microsecond, micros(5))
	require.Equal(t, time.Duration(math.MaxInt64), micros(math.MaxUint64))
	require.Equal(t, time.Duration(math.MaxInt64), nanos(math.MaxUint64))
}

func TestWeight(t *testing.T) {
	// The bounds, the default, and what runc's issue on the change gives for 2000.
	for shares, weight := range map[uint64]uint64{0: 0, 1: 1, 2: 1, 1024: 100, 2000: 170, 262144: 10000, 1 << 40: 10000} {
		require.Equal(t, weight, Weight(shares), shares)
	}
	for shares := uint64(2); shares < MaxCPUShares; shares += 97 {
		require.LessOrEqual(t, Weight(shares), Weight(shares+97))
	}
}

func TestValidate(t *testing.T) {
	require.NoError(t, (*Resources)(nil).Validate())
	for _, r := range []*Resources{
		{}, {Memory: MinMemory}, {Memory: Unlimited, MemorySwap: Unlimited}, {Memory: 1 << 30, MemorySwap: 1 << 30},
		{Memory: 1 << 30, MemorySwap: Unlimited, MemoryReservation: 1 << 29},
		{CPUQuota: Unlimited}, {CPUQuota: time.Millisecond},
		{CPUPeriod: time.Second, CPUShares: 2}, {CPUs: "0-3,8", Mems: "0"}, {CPUs: "0,1,2"}, {Pids: Unlimited}, {Pids: 1},
		{Devices: []DeviceRule{{Type: 'a'}, {Allow: true, Type: 'c', Major: 1, Minor: AnyDevice, Access: "rm"}}},
		{AllDevices: true}, {KernelTCPMemory: 1}, {Swappiness: new(uint64)}, {CPUBurst: Unlimited},
		{CPUQuota: time.Second, CPUBurst: time.Second}, {RealtimeRuntime: Unlimited, RealtimePeriod: time.Second},
		{IOWeight: 10, IODevices: []IODevice{{Major: 8, ReadBytes: Unlimited, WriteOps: maxOps}}},
		{Hugepages: []HugepageLimit{{"2MB", 0}, {"1GB", Unlimited}, {"64KB", 1}}},
		{RDMA: []RDMALimit{{"mlx5_0", 1, Unlimited}}}, {NetPriorities: []NetPriority{{"eth0", 0}}},
		{Unified: map[string]string{"memory.high": "1", "hugetlb.2MB.rsvd.max": "max", "cgroup.max.descendants": "9"}},
	} {
		require.NoError(t, r.Validate(), r)
	}
	for field, list := range map[string][]*Resources{
		"Memory":            {{Memory: -2}, {Memory: 1}, {Memory: MinMemory - 1}},
		"MemorySwap":        {{MemorySwap: -2}, {Memory: 1 << 30, MemorySwap: 1 << 29}, {Memory: -1, MemorySwap: 1 << 30}},
		"MemoryReservation": {{MemoryReservation: 5}, {Memory: 1 << 29, MemoryReservation: 1 << 30}},
		"CPUPeriod":         {{CPUPeriod: 1}, {CPUPeriod: 2 * time.Second}, {CPUPeriod: -1}},
		"CPUQuota":          {{CPUQuota: 5}, {CPUQuota: -2}, {CPUQuota: math.MaxInt64}},
		"CPUShares":         {{CPUShares: 1}, {CPUShares: MaxCPUShares + 1}},
		"CPUs": {
			{CPUs: "a"}, {CPUs: "1-"}, {CPUs: "3-1"}, {CPUs: ","}, {CPUs: "1,"}, {CPUs: "0\n1"},
			{CPUs: "99999999999999999999"},
		},
		"Mems":            {{Mems: "-1"}},
		"Pids":            {{Pids: -2}},
		"KernelTCPMemory": {{KernelTCPMemory: -2}},
		"Swappiness":      {{Swappiness: ptr(uint64(201))}},
		"CPUBurst": {{CPUBurst: 1}, {CPUBurst: -2}, {CPUBurst: math.MaxInt64},
			{CPUQuota: time.Second, CPUBurst: 2 * time.Second}},
		"RealtimePeriod":            {{RealtimePeriod: 1}, {RealtimePeriod: -1}, {RealtimePeriod: 2 * time.Hour}},
		"RealtimeRuntime":           {{RealtimeRuntime: -2}, {RealtimeRuntime: 2000, RealtimePeriod: 1000}},
		"IOWeight":                  {{IOWeight: 9}, {IOWeight: 1001}},
		"IODevices[4096:0].Major":   {{IODevices: []IODevice{{Major: 4096}}}},
		"IODevices[8:-1].Minor":     {{IODevices: []IODevice{{Major: 8, Minor: -1}}}},
		"IODevices[8:0].Weight":     {{IODevices: []IODevice{{Major: 8, Weight: 5}}}},
		"IODevices[8:0].ReadOps":    {{IODevices: []IODevice{{Major: 8, ReadOps: 1 << 32}}}},
		"IODevices[8:0].WriteBytes": {{IODevices: []IODevice{{Major: 8, WriteBytes: -2}}}},
		"Hugepages":                 {{Hugepages: []HugepageLimit{{"2M", 1}}}, {Hugepages: []HugepageLimit{{"../x", 1}}}, {Hugepages: []HugepageLimit{{"02MB", 1}}}},
		"Hugepages[2MB]":            {{Hugepages: []HugepageLimit{{"2MB", -2}}}},
		"RDMA":                      {{RDMA: []RDMALimit{{"a b", 1, 1}}}, {RDMA: []RDMALimit{{"", 1, 1}}}},
		"RDMA[m].Handles":           {{RDMA: []RDMALimit{{"m", -2, 1}}}},
		"NetPriorities":             {{NetPriorities: []NetPriority{{"eth 0", 1}}}, {NetPriorities: []NetPriority{{"", 1}}}},
		"Unified":                   {{Unified: map[string]string{"../memory.max": "1"}}, {Unified: map[string]string{"tasks": "1"}}, {Unified: map[string]string{"a/b.c": "1"}}},
		"Unified[memory.max]":       {{Unified: map[string]string{"memory.max": " "}}, {Unified: map[string]string{"memory.max": "1\x00"}}},
		"Unified[cgroup.procs]":     {{Unified: map[string]string{"cgroup.procs": "1"}}},
		"Unified[cgroup.freeze]":    {{Unified: map[string]string{"cgroup.freeze": "1"}}},
		"AllDevices":                {{AllDevices: true, Devices: []DeviceRule{}}},
		"Devices": {
			{Devices: []DeviceRule{{Type: 'x'}}}, {Devices: []DeviceRule{{Type: 'c', Major: -2}}},
			{Devices: []DeviceRule{{Type: 'c', Minor: 1 << 20}}}, {Devices: []DeviceRule{{Type: 'b', Access: "rx"}}},
			{Devices: make([]DeviceRule, maxDeviceRules+1)},
		},
	} {
		for _, r := range list {
			err := r.Validate()
			var re *ResourceError
			require.ErrorAs(t, err, &re, "%+v", r)
			require.Equal(t, field, re.Field, "%+v", r)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestIOWeight(t *testing.T) {
	for weight, want := range map[uint16]uint64{0: 0, 1: 1, 10: 1, 100: 910, 500: 4950, 1000: 10000, 5000: 10000} {
		require.Equal(t, want, IOWeight(weight), weight)
	}
}

func TestSentinels(t *testing.T) {
	require.ErrorIs(t, ErrNotMounted, errors.ErrUnsupported)
	require.ErrorIs(t, ErrNotDelegated, fs.ErrPermission)
	require.NotErrorIs(t, ErrNotDelegated, errors.ErrUnsupported)
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct\n"))
	f.Add([]byte("40 30 0:37 /.. /x\\040y ro - cgroup2 none rw\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts, err := parseMountinfo(data)
		if err != nil {
			return
		}
		for _, m := range mounts {
			if m.point[0] != '/' || m.root[0] != '/' || len(m.options) == 0 {
				t.Fatalf("accepted %+v", m)
			}
		}
	})
}

func FuzzProcGroup(f *testing.F) {
	f.Add([]byte("4:memory:/a/b\n0::/\n"), "/")
	f.Add([]byte("0::/../x\n"), "/..")
	f.Fuzz(func(t *testing.T, data []byte, root string) {
		list, err := parseProcGroup(data)
		if err != nil {
			return
		}
		for _, m := range list {
			rel, ok := below(root, m.path)
			for _, c := range rel {
				if !ok || c == "" || c == ".." || c == "." || strings.Contains(c, "/") {
					t.Fatalf("%q below %q is %q", m.path, root, rel)
				}
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("a/b")
	f.Add("/../x")
	f.Fuzz(func(t *testing.T, path string) {
		names, absolute, err := splitPath(path)
		if err != nil {
			return
		}
		back := strings.Join(names, "/")
		if absolute {
			back = "/" + back
		}
		if back != path || strings.Contains("/"+path+"/", "/../") || strings.Contains(path, "\x00") {
			t.Fatalf("accepted %q as %q", path, names)
		}
	})
}

// FuzzControlFiles feeds one content to all parsers of control files.
func FuzzControlFiles(f *testing.F) {
	f.Add([]byte("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"))
	f.Add([]byte("8:0 rbytes=1 wbytes=2\noom_kill 3\n12\n"))
	f.Add([]byte("0-3,8\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseKeys(data)
		for _, io := range []IO{parseIO(data), parseBlkio(data, data)} {
			for i := range io.Devices {
				if d := io.Devices; i > 0 && d[i-1].Major == d[i].Major && d[i-1].Minor == d[i].Minor {
					t.Fatalf("device %d:%d twice", d[i].Major, d[i].Minor)
				}
			}
		}
		_, _ = parsePerCPU(data)
		_, _ = parsePressure(data)
		if n, err := parseNumber(string(data)); err == nil && n < Unlimited {
			t.Fatalf("number %d", n)
		}
		if pids, err := parsePids(data); err == nil {
			for _, pid := range pids {
				if pid <= 0 {
					t.Fatalf("process id %d", pid)
				}
			}
		}
		if list, err := parseList(string(data)); err == nil && len(list) > maxListNumber+1 {
			t.Fatalf("%d in a list", len(list))
		}
	})
}

// FuzzResources feeds texts of limits to Validate: what it lets through cannot leave the group's directory, or write
// more than one number.
func FuzzResources(f *testing.F) {
	f.Add("memory.high", "1", "2MB", "mlx5_0", "eth0", "0-3,8")
	f.Add("../memory.max", "max", "../2MB", "a b", "e\n", "0-")
	f.Add("hugetlb.2MB.rsvd.max", "8:0 rbps=1\n8:16 wbps=2\n", "1GB", "", "", "")
	f.Fuzz(func(t *testing.T, file, value, size, device, link, list string) {
		for _, r := range []*Resources{
			{Unified: map[string]string{file: value}}, {Hugepages: []HugepageLimit{{size, 1}}},
			{RDMA: []RDMALimit{{device, 1, 1}}}, {NetPriorities: []NetPriority{{link, 1}}}, {CPUs: list},
		} {
			err := r.Validate()
			var re *ResourceError
			if err != nil {
				if !errors.As(err, &re) || re.Field == "" {
					t.Fatalf("%v names no field", err)
				}
				continue
			}
			for name := range r.Unified {
				if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "cgroup.procs") {
					t.Fatalf("accepted the file %q", name)
				}
			}
			if r.Hugepages != nil && strings.ContainsAny(size, "/. \n") {
				t.Fatalf("accepted the size %q", size)
			}
			if r.RDMA != nil && strings.ContainsAny(device, " \n/=") || r.NetPriorities != nil && strings.ContainsAny(link, " \n/") {
				t.Fatalf("accepted %q, %q", device, link)
			}
		}
	})
}
