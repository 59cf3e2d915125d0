package container_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// output runs the container and returns what it printed, which must succeed.
func output(t *testing.T, c *container.Container) string {
	t.Helper()
	out, err := c.Output(t.Context())
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestIdentity(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*container.Container)
		want   string
	}{
		"root":   {func(*container.Container) {}, "0 0 [0 3000] / box 1\n"},
		"folder": {func(c *container.Container) { c.Dir = "/tmp" }, "0 0 [0 3000] /tmp box 1\n"},
		"name":   {func(c *container.Container) { c.User = "app" }, "1000 1000 [1000 2000 3000] / box 1\n"},
		"ids":    {func(c *container.Container) { c.User = "7:8" }, "7 8 [8] / box 1\n"},
		"groups": {func(c *container.Container) { c.User, c.Groups = "7:8", []string{"audio", "77"} },
			"7 8 [8 77 3000] / box 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "id")
			c.Hostname = "box"
			x.change(c)
			require.Equal(t, x.want, output(t, c))
		})
	}
}

func TestUserThatIsNotThere(t *testing.T) {
	c := newContainer(t, "id")
	c.User = "nobody-of-that-name"
	err := c.Run(t.Context())
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, c.User, start.Path)
}

func TestEnvironment(t *testing.T) {
	c := newContainer(t, "env")
	c.Env = []string{"A=1", "B=2", "A=3"}
	c.User = "app"
	require.Equal(t, "B=2\nA=3\nPATH="+namespace.DefaultPath+"\nHOME=/home/app\n", output(t, c))
}

func TestHostnameDefault(t *testing.T) {
	require.Regexp(t, `^0 0 \[0 3000\] / [0-9a-f]{12} 1\n$`, output(t, newContainer(t, "id")))
}

func TestCapabilities(t *testing.T) {
	own := fmt.Sprintf("%016x", uint64(namespace.OwnCapabilities()))
	for name, x := range map[string]struct {
		change                            func(*container.Container)
		permitted, bounding, nnp, seccomp string
	}{
		"default": {func(*container.Container) {}, "00000000a80425fb", "00000000a80425fb", "1", "2"},
		"user":    {func(c *container.Container) { c.User = "app" }, "0000000000000000", "00000000a80425fb", "1", "2"},
		"none": {func(c *container.Container) { c.CapDrop = []string{"ALL"} },
			"0000000000000000", "0000000000000000", "1", "2"},
		"one": {func(c *container.Container) { c.CapDrop, c.CapAdd = []string{"all"}, []string{"CAP_CHOWN"} },
			"0000000000000001", "0000000000000001", "1", "2"},
		"less": {func(c *container.Container) { c.CapDrop = []string{"net_raw"} },
			"00000000a80405fb", "00000000a80405fb", "1", "2"},
		"new privileges": {func(c *container.Container) { c.NewPrivileges = true },
			"00000000a80425fb", "00000000a80425fb", "0", "2"},
		"no filter": {func(c *container.Container) { c.NoSeccomp = true },
			"00000000a80425fb", "00000000a80425fb", "1", "0"},
		"privileged": {func(c *container.Container) { c.Privileged = true }, own, own, "0", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "status", "CapPrm", "CapBnd", "CapEff", "CapInh", "NoNewPrivs", "Seccomp")
			x.change(c)
			require.Equal(t, "CapInh:\t0000000000000000\nCapPrm:\t"+x.permitted+"\nCapEff:\t"+x.permitted+"\nCapBnd:\t"+
				x.bounding+"\nNoNewPrivs:\t"+x.nnp+"\nSeccomp:\t"+x.seccomp+"\n", output(t, c))
		})
	}
}

func TestSeccompProfile(t *testing.T) {
	c := newContainer(t, "write", "/tmp/x", "y")
	c.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"openat"}, Action: specs.ActErrno}},
	}
	out, err := c.Output(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "operation not permitted")
}

// mounts returns the container's mount table by target: type and options.
func mounts(t *testing.T, c *container.Container) map[string]string {
	t.Helper()
	c.Args = []string{"read", "/proc/self/mountinfo"}
	all := make(map[string]string)
	for line := range strings.Lines(output(t, c)) {
		f := strings.Fields(line)
		i := 6
		for f[i] != "-" {
			i++
		}
		all[f[4]] = f[i+1] + " " + f[5]
	}
	return all
}

func TestDefaultMounts(t *testing.T) {
	all := mounts(t, newContainer(t))
	require.Equal(t, "proc rw,nosuid,nodev,noexec,relatime", all["/proc"])
	require.Equal(t, "sysfs ro,nosuid,nodev,noexec,relatime", all["/sys"])
	require.Equal(t, "proc ro,nosuid,nodev,noexec,relatime", all["/proc/sys"])
	require.Contains(t, all["/proc/interrupts"], "tmpfs", "/dev/null covers it")
	require.Contains(t, all["/dev/shm"], "tmpfs rw,nosuid,nodev,noexec")
	require.Contains(t, all["/dev/pts"], "devpts rw,nosuid,noexec")
	require.Contains(t, all["/dev/mqueue"], "mqueue")
	require.Contains(t, all["/sys/fs/cgroup"], " ro,nosuid,nodev,noexec,relatime")
	for target, kind := range all {
		if strings.HasPrefix(target, "/sys/fs/cgroup/") {
			require.Regexp(t, "^cgroup2? ro,", kind, target)
		}
	}
}

func TestReadOnlyRoot(t *testing.T) {
	c := newContainer(t, "write", "/etc/x", "")
	c.ReadOnlyRoot = true
	out, err := c.Output(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "read-only file system")
}

func TestMounts(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("of the host\n"), 0o644))
	c := newContainer(t, "read", "/new/folder/file", "/new/file")
	c.Mounts = []container.Mount{
		container.Bind(dir, "/new/folder", container.ReadOnly),
		container.Bind(filepath.Join(dir, "file"), "/new/file"),
		container.Tmpfs("/new", "size=1m"), // listed last, made first
	}
	require.Equal(t, "of the host\nof the host\n", output(t, c))
	require.NoDirExists(t, filepath.Join(c.Root.String(), "new/folder"), "it was made in the tmpfs")

	c = newContainer(t, "write", "/data/file", "changed")
	c.Mounts = []container.Mount{container.Bind(dir, "/data", container.ReadOnly)}
	out, err := c.Output(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "read-only file system")

	c = newContainer(t, "write", "/data/file", "changed")
	c.Mounts = []container.Mount{{Source: dir, Target: "/data"}}
	output(t, c)
	got, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "changed", string(got), "a volume outlives its container")
}

func TestMountReplacesDefault(t *testing.T) {
	c := newContainer(t)
	c.Mounts = []container.Mount{container.Tmpfs("/sys/fs/cgroup", "size=4k")}
	c.ShmSize = 1 << 20
	all := mounts(t, c)
	for target := range all {
		require.NotContains(t, target, "/sys/fs/cgroup/")
	}
}

func TestNetwork(t *testing.T) {
	c := newContainer(t, "read", "/proc/net/dev")
	lines := strings.Split(strings.TrimSpace(output(t, c)), "\n")
	require.Len(t, lines, 3, "two lines of heading, and lo")
	require.Contains(t, lines[2], "lo:")

	c = newContainer(t, "read", "/proc/net/dev")
	c.Namespaces.Network.Host = true
	host, err := os.ReadFile("/proc/net/dev")
	require.NoError(t, err)
	require.Len(t, strings.Split(output(t, c), "\n"), len(strings.Split(string(host), "\n")))
}

func TestJoinedNamespaces(t *testing.T) {
	first := newContainer(t, "trap")
	first.Hostname = "first"
	ready(t, first)
	second := newContainer(t, "id")
	second.Namespaces.UTS = first.Namespace()
	second.Namespaces.PID = first.Namespace()
	out := output(t, second)
	require.Contains(t, out, "/ first ")
	require.NotContains(t, out, "first 1\n", "it is not the first process there")
	require.NoError(t, first.Stop(t.Context()))
}

func TestSysctl(t *testing.T) {
	c := newContainer(t, "read", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni")
	c.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"}
	require.Equal(t, "1\n77\n", output(t, c))
}

func TestRlimit(t *testing.T) {
	c := newContainer(t, "read", "/proc/self/limits")
	nofile, ok := namespace.RlimitByName("nofile")
	require.True(t, ok)
	c.Rlimits = []container.Rlimit{{Resource: nofile, Soft: 100, Hard: 200}}
	require.Regexp(t, `Max open files +\d+ +200 `, output(t, c))
}

func TestDevices(t *testing.T) {
	if _, err := os.Stat("/dev/kmsg"); err != nil {
		t.Skip("needs /dev/kmsg")
	}
	open := func(c *container.Container) error {
		c.Args = []string{"write", "/dev/message", ""}
		return c.Run(context.Background())
	}
	c := newContainer(t)
	c.Devices = []container.Device{{Source: "/dev/kmsg", Target: "/dev/message", Mode: 0o600}}
	require.NoError(t, open(c))
	c = newContainer(t)
	c.Devices = []container.Device{{Source: "/dev/kmsg", Target: "/dev/message", Permissions: "r"}}
	require.Error(t, open(c), "its control group lets it read only")

	c = newContainer(t, "read", "/dev/nothing")
	c.Privileged = true
	require.Error(t, c.Run(t.Context()))
}

func TestLimitsAreSet(t *testing.T) {
	c := newContainer(t, "trap")
	c.Memory, c.CPUs, c.CPUShares, c.PidsLimit, c.CpusetCPUs = 64<<20, 0.5, 512, 50, "0"
	ready(t, c)
	s, err := c.Stats()
	require.NoError(t, err)
	require.Equal(t, int64(64<<20), s.Memory.Limit)
	require.Equal(t, int64(50), s.Pids.Limit)
	require.Regexp(t, `Cpus_allowed_list:\t0\n`, output2(t, c.Command("status", "Cpus_allowed_list")))
}

func output2(t *testing.T, p *container.Process) string {
	t.Helper()
	out, err := p.Output(t.Context())
	require.NoError(t, err, "%s", out)
	return string(out)
}
