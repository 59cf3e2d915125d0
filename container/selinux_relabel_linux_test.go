package container_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/volume"
)

// TestSELinuxRelabel: a container may use the host's files of its own context, and of the shared one, and no other's.
func TestSELinuxRelabel(t *testing.T) {
	testenv.EnforceSELinux(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o666))
	try := func() (string, error) {
		c := labelled(t, "write", "/data/file", "x")
		c.Mounts = append(c.Mounts, container.Bind(dir, "/data"))
		out, err := c.CombinedOutput(t.Context())
		return string(out), err
	}
	denied := func(why string) {
		t.Helper()
		out, err := try()
		require.Error(t, err, why)
		require.Contains(t, out, "permission denied")
	}
	denied("the host's")
	require.NoError(t, volume.Relabel(t.Context(), dir, strings.Replace(fileLabel, "c1", "c2", 1)))
	denied("another container's")
	for _, label := range []string{fileLabel, volume.SharedContext(fileLabel)} {
		require.NoError(t, volume.Relabel(t.Context(), dir, label))
		out, err := try()
		require.NoError(t, err, out)
	}
}
