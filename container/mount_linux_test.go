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
