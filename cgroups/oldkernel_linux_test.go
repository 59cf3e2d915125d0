package cgroups

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestKillWithoutFile ends groups as kernels before 5.14 do, which have no cgroup.kill: by signals.
func TestKillWithoutFile(t *testing.T) {
	m := newManager(t)
	asked := false
	m.hook = func(name, path string) error {
		if name != "kill" {
			return nil
		}
		asked = true
		return &os.PathError{Op: "open", Path: filepath.Join(path, "cgroup.kill"), Err: unix.ENOENT}
	}
	g := newGroup(t, m, nil)
	h := newHelper(t, g, "cg-sleep")
	other := newHelper(t, g, "cg-sleep")
	require.NoError(t, g.Freeze(t.Context()))
	require.NoError(t, g.Kill(t.Context()))
	require.Equal(t, syscall.SIGKILL, h.wait())
	require.Equal(t, syscall.SIGKILL, other.wait())
	require.Equal(t, m.Mode() != V1, asked)
}
