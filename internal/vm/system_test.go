package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMerge puts two packages into one tree: what they have at the root goes below /usr, links and modes as they are.
func TestMerge(t *testing.T) {
	a, b, to := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(a, "lib/x"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(a, "usr/bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(a, "lib/x/libc.so.6"), []byte("c"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(a, "usr/bin/prog"), []byte("p"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(b, "lib/x"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(b, "libexec"), 0o755))
	require.NoError(t, os.Symlink("libc.so.6", filepath.Join(b, "lib/x/libc.so")))
	require.NoError(t, merge(a, to))
	require.NoError(t, merge(b, to))

	content, err := os.ReadFile(filepath.Join(to, "usr/lib/x/libc.so"))
	require.NoError(t, err)
	require.Equal(t, "c", string(content))
	info, err := os.Stat(filepath.Join(to, "usr/bin/prog"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode())
	require.NoDirExists(t, filepath.Join(to, "lib"))
	require.DirExists(t, filepath.Join(to, "libexec"))
}

func TestSystemdLine(t *testing.T) {
	require.NotContains(t, systemdLine("v2"), "unified_cgroup_hierarchy", "systemd's own choice")
	require.Contains(t, systemdLine("v1"), "legacy_systemd_cgroup_controller=1")
	require.Contains(t, systemdLine("hybrid"), "legacy_systemd_cgroup_controller=0")
}
