package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestBring: a command and its libraries are on the disk. A link there that begins with "/" means a file of the disk, not one of
// this machine.
func TestBring(t *testing.T) {
	testenv.RequireCommand(t, "ldd")
	disk, outside := t.TempDir(), filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(outside, []byte("outside"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(disk, "usr/bin"), 0o755))
	require.NoError(t, os.Symlink("usr/bin", filepath.Join(disk, "bin")))
	require.NoError(t, bring(t.Context(), "bash", disk))
	require.FileExists(t, filepath.Join(disk, "usr/bin/bash"))
	out, err := command(t.Context(), "", "ldd", "/bin/bash")
	require.NoError(t, err)
	require.NotEmpty(t, libraries(out))
	for _, file := range libraries(out) {
		require.FileExists(t, filepath.Join(disk, file))
	}
	root, err := os.OpenRoot(disk)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, os.Symlink(outside, filepath.Join(disk, "etc")))
	require.Error(t, bringFile(root, "/etc/passwd"))
	require.NoError(t, os.Symlink(outside, filepath.Join(disk, "usr/bin/true")))
	require.NoError(t, bringFile(root, "/bin/true"))
	content, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "outside", string(content))
	require.Error(t, bring(t.Context(), "no-such-command", disk))
}

// TestBringTakesSystemd: a command that would not be there is not passed over.
func TestBringTakesSystemd(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), &options{arch: "amd64", bring: []string{"bash"}}, nil), "-systemd")
}
