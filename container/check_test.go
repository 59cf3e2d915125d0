package container_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func TestEveryWrongFieldIsNamed(t *testing.T) {
	pidfd, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer pidfd.Close()
	long := strings.Repeat("x", 5000)
	umask, adj := os.FileMode(0o1777), 2000
	type C = container.Container
	type M = container.Mount
	mounts := func(m ...M) func(*C) { return func(c *C) { c.Mounts = m } }
	for _, x := range []struct {
		field  string
		change func(*C)
	}{
		{"Args", func(c *C) { c.Args = nil }},
		{"Args", func(c *C) { c.Args = []string{""} }},
		{"Args[1]", func(c *C) { c.Args = []string{"a", "b\x00c"} }},
		{"Env[1]", func(c *C) { c.Env = []string{"A=", "B"} }},
		{"Env[0]", func(c *C) { c.Env = []string{"=A"} }},
		{"Env[0]", func(c *C) { c.Env = []string{"A=\x00"} }},
		{"Dir", func(c *C) { c.Dir = "tmp" }},
		{"Dir", func(c *C) { c.Dir = "/\x00" }},
		{"Dir", func(c *C) { c.Dir = "/" + long }},
		{"User", func(c *C) { c.User = "a\nb" }},
		{"Groups[1]", func(c *C) { c.Groups = []string{"a", "\x00"} }},
		{"CapAdd", func(c *C) { c.CapAdd = []string{"FLY"} }},
		{"CapDrop", func(c *C) { c.CapDrop = []string{"ALL", "FLY"} }},
		{"Umask", func(c *C) { c.Umask = &umask }},
		{"OOMScoreAdj", func(c *C) { c.OOMScoreAdj = &adj }},
		{"StopSignal", func(c *C) { c.StopSignal = syscall.Signal(65) }},
		{"WaitDelay", func(c *C) { c.WaitDelay = -time.Second }},
		{"MaxOutput", func(c *C) { c.MaxOutput = -1 }},
		{"MaxOutput", func(c *C) { c.MaxOutput, c.Stdout = 1, io.Writer(os.Stdout) }},
		{"MaxOutput", func(c *C) { c.MaxOutput, c.Keep, c.Cgroup = 1, &container.Keep{}, "a" }},
		{"Rlimits[0]", func(c *C) { c.Rlimits = []container.Rlimit{{Resource: 16}} }},
		{"Rlimits[0]", func(c *C) { c.Rlimits = []container.Rlimit{{Soft: 2, Hard: 1}} }},
		{"Rlimits[1]", func(c *C) { c.Rlimits = []container.Rlimit{{}, {}} }},
		{"ExtraFiles[0]", func(c *C) { c.ExtraFiles = []*os.File{nil} }},
		{"Stderr", func(c *C) { c.TTY, c.Stderr = true, os.Stderr }},
		{"TTYSize", func(c *C) { c.TTYSize = namespace.WinSize{Rows: 1} }},
		{"Root", func(c *C) { c.Root = nil }},
		{"Namespaces.PID", func(c *C) { c.Namespaces.PID = namespace.Namespace{Host: true, Join: pidfd} }},
		{"Namespaces.Mount", func(c *C) { c.Namespaces.Mount.Host = true }},
		{"Seccomp", func(c *C) { c.NoSeccomp, c.Seccomp = true, &specs.LinuxSeccomp{} }},
		{"Hostname", func(c *C) { c.Hostname = "-a" }},
		{"Hostname", func(c *C) { c.Hostname = strings.Repeat("a", 65) }},
		{"Hostname", func(c *C) { c.Hostname, c.Namespaces.UTS.Host = "a", true }},
		{"Domainname", func(c *C) { c.Domainname = long }},
		{"Sysctls[kernel.core_pattern]", func(c *C) { c.Sysctls = map[string]string{"kernel.core_pattern": "|/x"} }},
		{"Sysctls[kernel.shm_rmid_forced]", func(c *C) {
			c.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1+kernel.core_pattern=|/x"} // CVE-2022-0811
		}},
		{"Sysctls[net.x]", func(c *C) { c.Sysctls = map[string]string{"net.x": "1\n2"} }},
		{"Sysctls[kernel.hostname]", func(c *C) { c.Sysctls = map[string]string{"kernel.hostname": "x"} }},
		{"Sysctls[kernel.domainname]", func(c *C) { c.Sysctls, c.Domainname = map[string]string{"kernel.domainname": "x"}, "y" }},
		{"Sysctls[kernel.domainname]", func(c *C) { c.Sysctls, c.Namespaces.UTS.Host = map[string]string{"kernel.domainname": "x"}, true }},
		{"Nodes[0].Path", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/null", Type: "c"}} }},
		{"Nodes[0].Path", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/../x", Type: "c"}} }},
		{"Nodes[1].Path", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/x", Type: "c"}, {Path: "/dev/x", Type: "b"}} }},
		{"Nodes[0].Type", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/x", Type: "s"}} }},
		{"Nodes[0].Major", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 4096}} }},
		{"Nodes[0].Major", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/x", Type: "p", Minor: 1}} }},
		{"Nodes[0].Minor", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/x", Type: "b", Minor: -1}} }},
		{"Nodes[0].FileMode", func(c *C) { c.Nodes = []specs.LinuxDevice{{Path: "/dev/x", Type: "b", FileMode: &umask}} }},
		{"DeviceRules", func(c *C) { c.Privileged, c.DeviceRules = true, cgroups.DefaultDevices() }},
		{"MaskedPaths[1]", func(c *C) { c.MaskedPaths = []string{"/a", "b"} }},
		{"ReadOnlyPaths[0]", func(c *C) { c.ReadOnlyPaths = []string{"/a/../b"} }},
		{"RootPropagation", func(c *C) { c.RootPropagation = 9 }},
		{"Mounts[0].Propagation", mounts(M{Source: "/", Target: "/host", Propagation: -1})},
		{"Mounts[0].CopyUp", mounts(M{Source: "/", Target: "/host", CopyUp: true})},
		{"Capabilities", func(c *C) { c.CapAdd, c.Capabilities = []string{"CHOWN"}, &specs.LinuxCapabilities{} }},
		{"Capabilities.Ambient", func(c *C) { c.Capabilities = &specs.LinuxCapabilities{Ambient: []string{"CAP_FLY"}} }},
		{"Capabilities.Effective", func(c *C) { c.Capabilities = &specs.LinuxCapabilities{Effective: []string{"CAP_CHOWN"}} }},
		{"Capabilities.Inheritable", func(c *C) { c.Capabilities = &specs.LinuxCapabilities{Inheritable: []string{"CAP_CHOWN"}} }},
		{"Capabilities.Ambient", func(c *C) {
			c.Capabilities = &specs.LinuxCapabilities{Ambient: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"}}
		}},
		{"Scheduler.Policy", func(c *C) { c.Scheduler = &specs.Scheduler{Policy: "SCHED_LATER"} }},
		{"AppArmor", func(c *C) { c.AppArmor = "a b" }},
		{"Landlock.Files", func(c *C) {
			c.Landlock = &namespace.Landlock{AnyFile: true, Files: []namespace.LandlockFiles{{Path: "/", Access: namespace.LandlockRead}}}
		}},
		{"Sysctls[net/../kernel/x]", func(c *C) { c.Sysctls = map[string]string{"net/../kernel/x": ""} }},
		{"Sysctls[net.x]", func(c *C) { c.Sysctls, c.Namespaces.Network.Host = map[string]string{"net.x": ""}, true }},
		{"ShmSize", func(c *C) { c.ShmSize = 1 }},
		{"Mounts[0].Target", mounts(M{Type: "tmpfs", Target: "tmp"})},
		{"Mounts[0].Target", mounts(M{Type: "tmpfs", Target: "/a/../b"})},
		{"Mounts[0].Target", mounts(M{Type: "tmpfs", Target: "/a/"})},
		{"Mounts[0].Target", mounts(M{Type: "tmpfs", Target: "/"})},
		{"Mounts[1].Target", mounts(M{Type: "tmpfs", Target: "/a"}, M{Type: "tmpfs", Target: "/a"})},
		{"Mounts[0].Target", mounts(container.Bind(os.TempDir(), "/proc"))},
		{"Mounts[0].Target", mounts(container.Bind(os.TempDir(), "/proc/self"))},
		{"Mounts[0].Type", mounts(M{Target: "/a"})},
		{"Mounts[0].Source", mounts(M{Type: "bind", Target: "/a", Source: "tmp"})},
		{"Mounts[0].Source", mounts(M{Type: "bind", Target: "/a", Source: "/no/such/folder"})},
		{"Mounts[0].Data", mounts(M{Source: os.TempDir(), Target: "/a", Data: "size=1"})},
		{"Mounts[0]", mounts(M{Type: "tmp\x00fs", Target: "/a"})},
		{"Devices[0].Source", func(c *C) { c.Devices = []container.Device{{Source: "fuse"}} }},
		{"Devices[0].Target", func(c *C) { c.Devices = []container.Device{{Source: "/dev/fuse", Target: "/etc/fuse"}} }},
		{"Devices[1].Target", func(c *C) { c.Devices = []container.Device{{Source: "/dev/fuse"}, {Source: "/dev/fuse"}} }},
		{"Devices[0].Permissions", func(c *C) { c.Devices = []container.Device{{Source: "/dev/fuse", Permissions: "x"}} }},
		{"Devices[0].Mode", func(c *C) { c.Devices = []container.Device{{Source: "/dev/fuse", Mode: os.ModeDir}} }},
		{"Memory", func(c *C) { c.Memory = 1 << 20 }},
		{"Memory", func(c *C) { c.Memory = -1 }},
		{"MemorySwap", func(c *C) { c.MemorySwap = 1 << 30 }},
		{"MemorySwap", func(c *C) { c.MemorySwap = -2 }},
		{"MemorySwap", func(c *C) { c.Memory, c.MemorySwap = 64<<20, 32<<20 }},
		{"MemoryReservation", func(c *C) { c.Memory, c.MemoryReservation = 64<<20, 128<<20 }},
		{"MemoryReservation", func(c *C) { c.MemoryReservation = 1 }},
		{"CPUs", func(c *C) { c.CPUs = float64(runtime.NumCPU()) + 0.1 }},
		{"CPUs", func(c *C) { c.CPUs = 0.001 }},
		{"CPUs", func(c *C) { c.CPUs = -1 }},
		{"CPUs", func(c *C) { c.CPUs = math.NaN() }},
		{"CPUShares", func(c *C) { c.CPUShares = 1 }},
		{"CpusetCPUs", func(c *C) { c.CpusetCPUs = "0-" }},
		{"CpusetMems", func(c *C) { c.CpusetMems = "3-1" }},
		{"PidsLimit", func(c *C) { c.PidsLimit = -2 }},
		{"Cgroup", func(c *C) { c.Cgroup = "/" }},
		{"Cgroup", func(c *C) { c.Cgroup = "a/../b" }},
		{"Cgroup", func(c *C) { c.Cgroup, c.NoCgroup = "a", true }},
		{"NoCgroup", func(c *C) { c.NoCgroup, c.Namespaces.PID.Host = true, true }},
		{"Memory", func(c *C) { c.NoCgroup, c.Memory = true, 64<<20 }},
		{"Resources", func(c *C) { c.NoCgroup, c.Resources = true, &cgroups.Resources{} }},
		{"Resources.Pids", func(c *C) { c.Resources = &cgroups.Resources{Pids: -2} }},
		{"Resources.IOWeight", func(c *C) { c.Resources = &cgroups.Resources{IOWeight: 1} }},
		{"Resources.Unified[cgroup.procs]", func(c *C) {
			c.Resources = &cgroups.Resources{Unified: map[string]string{"cgroup.procs": "1"}}
		}},
		{"Memory", func(c *C) { c.Memory, c.Resources = 64<<20, &cgroups.Resources{Memory: 64 << 20} }},
		{"CPUs", func(c *C) { c.CPUs, c.Resources = 1, &cgroups.Resources{CPUPeriod: time.Second} }},
		{"Resources.CPUBurst", func(c *C) { c.CPUs, c.Resources = 0.5, &cgroups.Resources{CPUBurst: time.Second} }},
		{"Resources.AllDevices", func(c *C) {
			c.Devices, c.Resources = []container.Device{{Source: "/dev/null", Target: "/dev/x"}}, &cgroups.Resources{AllDevices: true}
		}},
	} {
		c := container.New(namespace.Dir(t.TempDir()), "true")
		x.change(c)
		err := c.Start(context.Background())
		var start *container.StartError
		require.ErrorAs(t, err, &start, "%s", x.field)
		require.Equal(t, "check", start.Step, "%v", err)
		require.Equal(t, x.field, start.Path, "%v", err)
		require.Greater(t, len(start.Err.Error()), 10, "it says what is wrong: %v", err)
	}
}

func TestNoSuchSourceIsNotExist(t *testing.T) {
	c := container.New(namespace.Dir(t.TempDir()), "true")
	c.Mounts = []container.Mount{container.Bind("/no/such/folder", "/a")}
	require.ErrorIs(t, c.Start(context.Background()), os.ErrNotExist)
}

func TestOtherSystems(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Skip("this is Linux")
	}
	c := container.New(namespace.Dir(t.TempDir()), "true")
	require.ErrorIs(t, c.Run(context.Background()), errors.ErrUnsupported)
}
