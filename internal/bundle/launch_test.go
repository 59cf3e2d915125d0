package bundle

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

// changed is the least configuration with a change.
func changed(t *testing.T, change func(*specs.Spec)) (*Bundle, error) {
	t.Helper()
	s := &specs.Spec{}
	require.NoError(t, json.Unmarshal([]byte(least), s))
	s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	change(s)
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return Parse(b, t.TempDir())
}

// TestFieldOfError holds the names of the fields that errors name.
func TestFieldOfError(t *testing.T) {
	for want, change := range map[string]func(*specs.Spec){
		"process.args":               func(s *specs.Spec) { s.Process.Args = nil },
		"process.cwd":                func(s *specs.Spec) { s.Process.Cwd = "x" },
		"process.env[0]":             func(s *specs.Spec) { s.Process.Env = []string{"x"} },
		"process.user.umask":         func(s *specs.Spec) { m := uint32(0o1000); s.Process.User.Umask = &m },
		"process.consoleSize.height": func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Height: 1 << 16} },
		"process.rlimits[0].soft":    func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CPU", Soft: 2, Hard: 1}} },
		"process.capabilities.effective": func(s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Effective: []string{"CAP_KILL"}}
		},
		"process.scheduler.policy": func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "X"} },
		"process.ioPriority.class": func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{Class: "X"} },
		"process.oomScoreAdj":      func(s *specs.Spec) { n := 1001; s.Process.OOMScoreAdj = &n },
		"hostname":                 func(s *specs.Spec) { s.Hostname = "x" }, // of the host's UTS namespace
		"mounts[0].destination":    func(s *specs.Spec) { s.Mounts = []specs.Mount{{Destination: "/", Type: "tmpfs"}} },
		"mounts[0].type":           func(s *specs.Spec) { s.Mounts = []specs.Mount{{Destination: "/x"}} },
		"mounts[0].source":         func(s *specs.Spec) { s.Mounts = []specs.Mount{{Destination: "/x", Type: "bind"}} },
		"mounts[0].options": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/x", Type: "tmpfs", Options: []string{"remount"}}}
		},
		"mounts[0].uidMappings": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/x", Type: "tmpfs", Options: []string{"idmap"}}}
		},
		"linux.namespaces[1].type": func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) },
		"linux.namespaces[1].path": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "ipc", Path: "/nowhere"})
		},
		"linux.timeOffsets":          func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} },
		"linux.devices[0].type":      func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "x"}} },
		"linux.devices[0].path":      func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "x", Type: "c"}} },
		"linux.netDevices":           func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"x": {}} },
		"linux.intelRdt":             func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
		"linux.rootfsPropagation":    func(s *specs.Spec) { s.Linux.RootfsPropagation = "x" },
		"linux.maskedPaths[0]":       func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"x"} },
		"linux.readonlyPaths[0]":     func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/"} },
		"linux.sysctl.kernel.msgmax": func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.msgmax": "1"} },
		"linux.personality.domain":   func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "X"} },
		"linux.memoryPolicy.mode":    func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "X"} },
		"linux.cgroupsPath":          func(s *specs.Spec) { s.Linux.CgroupsPath = "/" },
		"linux.resources.pids.limit": func(s *specs.Spec) {
			n := int64(-2)
			s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &n}}
		},
		"linux.seccomp.listenerPath": func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActNotify} },
		"linux.seccomp.syscalls[0].action": func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: "X"}}}
		},
		"hooks.poststop[0].timeout": func(s *specs.Spec) { n := 0; s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/x", Timeout: &n}}} },
	} {
		b, err := changed(t, change)
		if err == nil {
			_, err = b.Resources()
		}
		if err == nil {
			_, err = b.CgroupPath("c")
		}
		if err == nil {
			var l *Launch
			if l, err = b.Launch(&Options{}); err == nil {
				_, err = l.Program()
				err = Explain(err)
				l.Close()
			}
		}
		var field *FieldError
		if !errors.As(err, &field) {
			t.Errorf("%s: %v", want, err)
			continue
		}
		require.Equal(t, want, field.Field, err)
	}
}

// TestCgroupMounts looks at the mounts of hierarchies with several controllers.
func TestCgroupMounts(t *testing.T) {
	b, err := changed(t, func(s *specs.Spec) {
		s.Mounts = []specs.Mount{{Destination: "/sys/fs/cgroup", Type: "cgroup", Options: []string{"ro"}}}
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	})
	require.NoError(t, err)
	o := &Options{Hierarchies: []cgroups.Hierarchy{{Name: "cpu,cpuacct", Type: "cgroup", Options: "cpu,cpuacct"}, {Name: "pids", Type: "cgroup", Options: "pids"}}}
	targets := func() (all []string) {
		list, _, err := b.mounts(o)
		require.NoError(t, err)
		for _, m := range list {
			all = append(all, m.Type+" "+m.Source+" "+m.Target)
		}
		return all
	}
	require.Equal(t, []string{
		"tmpfs tmpfs /sys/fs/cgroup", "cgroup cgroup /sys/fs/cgroup/cpu,cpuacct", "link cpu,cpuacct /sys/fs/cgroup/cpu",
		"link cpu,cpuacct /sys/fs/cgroup/cpuacct", "cgroup cgroup /sys/fs/cgroup/pids",
	}, targets())
	b.Spec.Linux.Namespaces = b.Spec.Linux.Namespaces[:1]
	o.Groups = []string{"/sys/fs/cgroup/cpu,cpuacct/a/b", "/sys/fs/cgroup/cpu,cpuacct/a", "/sys/fs/cgroup/pids/a/b"}
	require.Equal(t, "bind /sys/fs/cgroup/cpu,cpuacct/a/b /sys/fs/cgroup/cpu,cpuacct", targets()[1])
	o.Hierarchies, o.Groups = []cgroups.Hierarchy{{Type: "cgroup2"}}, []string{"/sys/fs/cgroup/a/b"}
	require.Equal(t, []string{"bind /sys/fs/cgroup/a/b /sys/fs/cgroup"}, targets())
}

func TestCgroupPath(t *testing.T) {
	for path, want := range map[string]string{"": "c", "/a/b": "/a/b", "a/b": "a/b", "../x": "x", "/a/../../b": "/b"} {
		b, err := changed(t, func(s *specs.Spec) { s.Linux.CgroupsPath = path })
		require.NoError(t, err)
		got, err := b.CgroupPath("c")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for path, want := range map[string]Unit{
		"": {Name: "minirunc-c.scope"}, "machine.slice:libpod:c": {Slice: "machine.slice", Name: "libpod-c.scope"},
		"system.slice::x": {Slice: "system.slice", Name: "x.scope"}, ":docker:c": {Name: "docker-c.scope"},
	} {
		b, err := changed(t, func(s *specs.Spec) { s.Linux.CgroupsPath = path })
		require.NoError(t, err)
		got, err := b.CgroupUnit("c")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestTmpfsMode: a tmpfs without a mode has that of the folder that it covers.
func TestTmpfsMode(t *testing.T) {
	b, err := changed(t, func(s *specs.Spec) {
		s.Mounts = []specs.Mount{{Destination: "/t", Type: "tmpfs"}, {Destination: "/new", Type: "tmpfs"}, {Destination: "/t", Type: "tmpfs", Options: []string{"mode=700"}}}
	})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(b.Rootfs(), "t"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(b.Rootfs(), "t"), 0o750|os.ModeSticky))
	list, _, err := b.mounts(&Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"mode=01750", "", "mode=700"}, []string{list[0].Data, list[1].Data, list[2].Data})
}

// TestDevices: devices are made after all mounts, each in its folder; in a /dev of the host's nothing is.
func TestDevices(t *testing.T) {
	devices := []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}, {Path: "/srv/p", Type: "p"}, {Path: "/dev/net/tun", Type: "u", Major: 10, Minor: 200}}
	b, err := changed(t, func(s *specs.Spec) { s.Linux.Devices = devices })
	require.NoError(t, err)
	list, err := b.nodes()
	require.NoError(t, err)
	require.Equal(t, []string{"/dev", "/srv", "/dev/net"}, []string{list[0].Target, list[1].Target, list[2].Target})
	require.Equal(t, namespace.Device{Path: "fuse", Major: 10, Minor: 229, Source: "/dev/fuse"}, list[0].Nodes[0])
	require.True(t, list[1].Nodes[0].FIFO)
	b.Spec.Mounts = []specs.Mount{{Destination: "/dev/", Source: "/dev", Options: []string{"rbind"}}}
	list, err = b.nodes()
	require.NoError(t, err)
	require.Equal(t, "existing", list[0].Data)
	require.Empty(t, list[0].Nodes)
	require.Len(t, list, 2)
	b.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "//null", Type: "c", Major: 1, Minor: 3}, {Path: "/", Type: "c"}}
	_, err = b.nodes()
	require.ErrorContains(t, err, "linux.devices[1].path")
	b.Spec.Linux.Devices = b.Spec.Linux.Devices[:1]
	list, err = b.nodes()
	require.NoError(t, err)
	require.Equal(t, "/", list[1].Target)
	require.Equal(t, "null", list[1].Nodes[0].Path)
}
