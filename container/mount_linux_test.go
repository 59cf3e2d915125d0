package container_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// TestHiddenPaths: nil is the default, an empty list is none, and paths of the image can be hidden too.
func TestHiddenPaths(t *testing.T) {
	c := newContainer(t, "write", "/proc/sys/net/ipv4/ip_forward", "1")
	c.CapAdd = []string{"NET_ADMIN"}
	require.Error(t, c.Run(t.Context()))
	c = newContainer(t, "write", "/proc/sys/net/ipv4/ip_forward", "1")
	c.CapAdd = []string{"NET_ADMIN"}
	c.MaskedPaths, c.ReadOnlyPaths = []string{}, []string{}
	output(t, c)

	c = newContainer(t, "read", "/etc/passwd")
	c.MaskedPaths = []string{"/etc/passwd"}
	require.Empty(t, output(t, c))
	c = newContainer(t, "write", "/etc/passwd", "x")
	c.ReadOnlyPaths = []string{"/etc"}
	out, err := c.Output(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "read-only file system")
}

// TestTerminalOfReadOnlyDev: the console is made before /dev becomes read-only.
func TestTerminalOfReadOnlyDev(t *testing.T) {
	c := newContainer(t, "write", "/dev/new", "x")
	c.Mounts = []container.Mount{{Type: "dev", Target: "/dev", Flags: container.ReadOnly | container.NoSuid}}
	c.TTY = true
	out, err := c.Output(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "read-only file system")
}

func TestCopyUp(t *testing.T) {
	c := newContainer(t, "read", "/etc/passwd")
	m := container.Mount{Type: "tmpfs", Target: "/etc"}
	require.NoError(t, m.SetOptions("tmpcopyup", "nosuid", "nodev", "rw", "mode=755"))
	c.Mounts = []container.Mount{m}
	require.Contains(t, output(t, c), "root:")
	c = newContainer(t, "write", "/etc/new", "x")
	c.Mounts = []container.Mount{m}
	output(t, c)
	require.NoFileExists(t, filepath.Join(c.Root.String(), "etc/new"))
}

func TestMountLabelWithoutSELinux(t *testing.T) {
	if b, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil {
		t.Skipf("needs a kernel without SELinux, this enforces %s", b)
	}
	c := newContainer(t, "id")
	c.MountLabel = "system_u:object_r:container_file_t:s0"
	err := c.Run(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	var start *namespace.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "MountLabel", start.Path)
}

// TestBindOfPart: a bind attaches a part of a folder, found without being led out of it, or a root file system.
func TestBindOfPart(t *testing.T) {
	c := newContainer(t, "read", "/mnt/part/file")
	source := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(source, "a/part"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(source, "a/part/file"), []byte("part"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(source, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(source, "etc/passwd"), []byte("the volume's"), 0o644))
	for name, target := range map[string]string{"out": "/etc", "up": "../../../../../../etc", "file": "/etc/passwd"} {
		require.NoError(t, os.Symlink(target, filepath.Join(source, name)))
	}
	again := func(m container.Mount, args ...string) string {
		d := container.New(c.Root, args...)
		d.Cgroup, d.Mounts = c.Cgroup, []container.Mount{m}
		return output(t, d)
	}
	require.Equal(t, "part", again(container.Mount{Source: source, Subpath: "a", Target: "/mnt"}, "read", "/mnt/part/file"))
	require.Equal(t, "part", again(container.Mount{Source: source, Subpath: "a/part/file", Target: "/mnt/single"}, "read", "/mnt/single"))
	for _, link := range []string{"out", "up"} {
		require.Equal(t, "the volume's", again(container.Mount{Source: source, Subpath: link, Target: "/mnt/" + link},
			"read", "/mnt/"+link+"/passwd"))
	}
	require.Equal(t, "the volume's", again(container.Mount{Source: source, Subpath: "file", Target: "/mnt/passwd"}, "read", "/mnt/passwd"))
	require.Equal(t, "part", again(container.Mount{Root: namespace.Dir(source), Subpath: "a/part", Target: "/mnt/root"},
		"read", "/mnt/root/file"))

	for field, m := range map[string]container.Mount{
		"Mounts[0].Subpath": {Source: source, Subpath: "missing", Target: "/mnt"},
		"Mounts[0].Root":    {Source: source, Root: namespace.Dir(source), Target: "/mnt"},
	} {
		c.Mounts = []container.Mount{m}
		require.ErrorContains(t, c.Check(), field)
	}
	for _, subpath := range []string{"..", "/etc", "a/../../etc"} {
		c.Mounts = []container.Mount{{Source: source, Subpath: subpath, Target: "/mnt"}}
		require.ErrorContains(t, c.Check(), "Mounts[0].Subpath")
	}
	c.Mounts = []container.Mount{{Type: "tmpfs", Subpath: "a", Target: "/mnt"}}
	require.ErrorContains(t, c.Check(), "Mounts[0].Subpath")
}
