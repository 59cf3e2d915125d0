package container_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// Contexts of the tests' policy.
const (
	processLabel = testenv.SELinuxProcess
	fileLabel    = testenv.SELinuxFile
)

func labelled(t *testing.T, args ...string) *container.Container {
	t.Helper()
	c := newContainer(t, args...)
	c.Mounts = append(c.Mounts, container.Tmpfs("/tmp", ""))
	c.SELinux, c.MountLabel = processLabel, fileLabel
	return c
}

// TestSELinux: the container, and what is executed in it, run in the context, which is enforced, root or not, privileged or not;
// and so do the files of its file systems have theirs.
func TestSELinux(t *testing.T) {
	testenv.EnforceSELinux(t)
	const current = "/proc/self/attr/current"
	label := func(out []byte, err error) string {
		t.Helper()
		require.NoError(t, err, string(out))
		return strings.Trim(string(out), "\x00\n")
	}
	require.Equal(t, testenv.SELinuxHost, label(newContainer(t, "read", current).Output(t.Context())))
	require.Equal(t, "x", label(newContainer(t, "write", "/file", "x").Output(t.Context()))+"x", "the host's may")
	for _, privileged := range []bool{false, true} {
		c := labelled(t, "read", current)
		c.Privileged, c.NewPrivileges = privileged, privileged
		require.Equal(t, processLabel, label(c.Output(t.Context())))
		for _, path := range []string{"/tmp/file", "/dev/shm/file"} {
			c = labelled(t, "write", path, "x")
			c.Privileged = privileged
			label(c.CombinedOutput(t.Context()))
		}
		c = labelled(t, "write", "/file", "x")
		c.Privileged = privileged
		out, err := c.CombinedOutput(t.Context())
		require.Error(t, err)
		require.Contains(t, string(out), "permission denied")
		c = labelled(t, "write", "/tmp/file", "x")
		c.Privileged, c.MountLabel = privileged, strings.Replace(fileLabel, "c1", "c2", 1)
		out, err = c.CombinedOutput(t.Context())
		require.Error(t, err, "another container's")
		require.Contains(t, string(out), "permission denied")
	}

	running := labelled(t, "sleep", "60s")
	require.NoError(t, running.Start(t.Context()))
	defer func() {
		_ = running.Kill()
		_ = running.Wait(t.Context())
	}()
	for _, path := range []string{"/tmp", "/dev", "/dev/null", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue"} {
		b := make([]byte, 256)
		n, err := syscall.Getxattr(filepath.Join("/proc", strconv.Itoa(running.Pid()), "root", path), "security.selinux", b)
		require.NoError(t, err, path)
		require.Equal(t, fileLabel, label(b[:n], nil), path)
	}
	require.Equal(t, processLabel, label(running.Command("read", current).Output(t.Context())))

	// The message queues of an IPC namespace that is not the container's own keep what context they have.
	host := t.TempDir()
	require.NoError(t, syscall.Mount("mqueue", host, "mqueue", 0, ""))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(host, 0)) })
	joined, err := os.Open(filepath.Join("/proc", strconv.Itoa(running.Pid()), "ns/ipc"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = joined.Close() })
	for _, x := range []struct {
		ipc    namespace.Namespace
		queues string
		want   string
	}{
		{namespace.Namespace{Host: true}, host, "u:object_r:file_t:s0"},
		{namespace.Namespace{Join: joined}, filepath.Join("/proc", strconv.Itoa(running.Pid()), "root/dev/mqueue"), fileLabel},
	} {
		c := labelled(t, "read", current)
		c.Namespaces.IPC, c.MountLabel = x.ipc, strings.Replace(fileLabel, "c1", "c1,c2", 1)
		label(c.CombinedOutput(t.Context()))
		b := make([]byte, 256)
		n, err := syscall.Getxattr(x.queues, "security.selinux", b)
		require.NoError(t, err)
		require.Equal(t, x.want, label(b[:n], nil))
	}

	p := running.Command("read", current)
	p.SELinux = strings.Replace(processLabel, "c1", "c2", 1)
	require.Equal(t, p.SELinux, label(p.Output(t.Context())))
	p = running.Command("write", "/tmp/file", "x")
	p.SELinux = strings.Replace(processLabel, "c1", "c2", 1)
	out, err := p.CombinedOutput(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "permission denied")
	p = running.Command("read", current)
	p.SELinux = "u:r:nothing_t:s0"
	requireNoContext(t, "SELinux", p.Run(t.Context()))

	// What the policy does not know is refused, by the field's name, before anything starts.
	for field, set := range map[string]func(c *container.Container, label string){
		"SELinux":    func(c *container.Container, label string) { c.SELinux = label },
		"MountLabel": func(c *container.Container, label string) { c.MountLabel = label },
	} {
		for _, wrong := range []string{"u:r:nothing_t:s0", "u:r:container_t:s0:c1,c7", "container_t", "u:r:container_t"} {
			c := labelled(t, "echo")
			set(c, wrong)
			requireNoContext(t, field, c.Run(t.Context()))
		}
	}
	// What it knows and does not allow is refused by the kernel.
	c := labelled(t, "echo")
	c.SELinux = "u:r:other_t:s0"
	var start *container.StartError
	err = c.Run(t.Context())
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, syscall.EACCES)
	require.Equal(t, "execve", start.Step)
}

func requireNoContext(t *testing.T, field string, err error) {
	t.Helper()
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "check "+field, start.Step+" "+start.Path)
	require.ErrorContains(t, err, "is no context of the policy")
}
