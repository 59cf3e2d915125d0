package main

import (
	"fmt"
	"github.com/caisson-engine/caisson/internal/hook"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestOtherMountNamespace: a container may share the host's mounts, or join a namespace of them.
func TestOtherMountNamespace(t *testing.T) {
	testenv.RequireCommand(t, "unshare", "sleep")
	m := newMade(t, "cat", "/proc/self/mountinfo")
	host, err := os.Readlink("/proc/self/ns/mnt")
	require.NoError(t, err)
	before, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	m.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.UTSNamespace}}
	m.write()
	m.ok("create", "c")
	k, err := (&command{root: m.root}).open("c")
	require.NoError(t, err)
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", k.InitProcessPid))
	require.NoError(t, err)
	require.Equal(t, host, own)
	m.fails(255, hook.ErrNoMountNamespace.Error(), "exec", "c", "probe")
	m.ok("delete", "--force", "c")
	require.Contains(t, m.ok("run", "c"), " / /proc rw")
	after, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))

	other := exec.Command("unshare", "--mount", "--propagation", "private", "sleep", "60")
	require.NoError(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	path := fmt.Sprintf("/proc/%d/ns/mnt", other.Process.Pid)
	require.Eventually(t, func() bool { ns, _ := os.Readlink(path); return ns != host }, time.Minute, time.Millisecond)
	m.spec.Linux.Namespaces = append(m.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.MountNamespace, Path: path})
	m.spec.Process.Args = []string{"probe", "sleep"}
	m.write()
	m.ok("run", "-d", "c")
	require.Equal(t, "root:x:0:", m.ok("exec", "c", "probe", "cat", "/etc/group")[:9], "exec enters the root")
	k, err = (&command{root: m.root}).open("c")
	require.NoError(t, err)
	own, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", k.InitProcessPid))
	require.NoError(t, err)
	joined, err := os.Readlink(path)
	require.NoError(t, err)
	require.Equal(t, joined, own)
}

// TestUserNamespaceOfOthersFiles: standard files that belong to nobody in the user namespace stay as they are.
func TestUserNamespaceOfOthersFiles(t *testing.T) {
	m := newMade(t, "cat", "/proc/self/uid_map")
	m.spec.Linux.Namespaces = append(m.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	m.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 2000}}
	m.spec.Linux.GIDMappings = m.spec.Linux.UIDMappings
	m.spec.Linux.UIDMappings = append(m.spec.Linux.UIDMappings, specs.LinuxIDMapping{ContainerID: 65534, HostID: 65534, Size: 1})
	for _, hooks := range []*specs.Hooks{nil, {CreateContainer: []specs.Hook{{Path: "/bin/true"}}}} {
		m.spec.Hooks = hooks
		m.write()
		require.Contains(t, m.ok("run", "c"), "0       1000       2000")
	}
}

// TestOverlayMount: a file system whose options name paths of the host is mounted by them.
func TestOverlayMount(t *testing.T) {
	m := newMade(t, "cat", "/mnt/file")
	lower, upper, work := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(lower+"/file", []byte("lower"), 0o644))
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{
		Destination: "/mnt", Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + lower, "upperdir=" + upper, "workdir=" + work},
	})
	m.write()
	d := m.do("run", "c")
	if d.run() != 0 && testenv.VM() {
		t.Skip("the machine's file system takes no overlay")
	}
	require.Equal(t, "lower", d.stdout.String(), d.stderr.String())
}

// TestCopyUpInGroup: what a tmpfs is filled with counts for the container's memory, and what that does not hold fails the start.
func TestCopyUpInGroup(t *testing.T) {
	m := newMade(t, "cat", "/data/small")
	data := filepath.Join(m.spec.Root.Path, "data")
	require.NoError(t, os.Mkdir(data, 0o755))
	require.NoError(t, os.WriteFile(data+"/small", []byte("small"), 0o644))
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "size=1g"}})
	memory := int64(32 << 20)
	m.spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory}}
	m.write()
	require.Equal(t, "small", m.ok("run", "c"))
	require.NoError(t, os.WriteFile(data+"/large", nil, 0o644))
	require.NoError(t, os.Truncate(data+"/large", 64<<20))
	m.fails(1, "for want of memory", "run", "c")
	require.Empty(t, m.left())
}
