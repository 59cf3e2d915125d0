package diskusage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

// TestTree is that a tree takes what du says.
func TestTree(t *testing.T) {
	testenv.RequireCommand(t, "du")
	dir := t.TempDir()
	write := func(name string, size int) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644))
	}
	write("a", 1)
	write("d/e/b", 100_000)
	require.NoError(t, os.Link(filepath.Join(dir, "d/e/b"), filepath.Join(dir, "c")))
	require.NoError(t, os.Symlink("/", filepath.Join(dir, "root")))
	require.NoError(t, os.Symlink(strings.Repeat("x", 200), filepath.Join(dir, "long")))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	require.NoError(t, err)
	require.NoError(t, sparse.Truncate(1<<30))
	require.NoError(t, sparse.Close())
	out, err := exec.Command("du", "-s", "-B1", dir).Output()
	require.NoError(t, err)
	want, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	require.NoError(t, err)
	var m Meter
	got, err := m.Tree(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = m.Tree(t.Context(), filepath.Join(dir, "c"))
	require.NoError(t, err)
	require.Zero(t, got, "counted already")
	got, err = m.Tree(t.Context(), filepath.Join(dir, "never"))
	require.NoError(t, err)
	require.Zero(t, got)
}
