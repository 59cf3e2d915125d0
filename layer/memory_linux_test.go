package layer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestMountInMemory: what is written goes to memory, as much as is allowed, and leaves nothing.
func TestMountInMemory(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		layers := newLayers(t, s, []entry{folderOf("./", 0o711), file("a", "1"), file("d/b", "1")})
		root, err := Mount(t.Context(), layers, &MountOptions{InMemory: 1 << 20, Target: t.TempDir()})
		require.NoError(t, err)
		dir := root.String()
		st, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o711), st.Mode().Perm())
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("2"), 0o644))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "d")))
		require.Equal(t, []string{"a=2"}, names(t, dir))
		require.ErrorIs(t, os.WriteFile(filepath.Join(dir, "big"), make([]byte, 2<<20), 0o644), unix.ENOSPC)
		requireNoTemp(t, s)
		require.NoError(t, root.Close())
		require.NotContains(t, mountinfo(t), os.TempDir())
		require.FileExists(t, filepath.Join(layers[0].Dir, "d/b"))
	})
}

func TestMountInMemoryCheck(t *testing.T) {
	layers := []Layer{{Dir: t.TempDir()}}
	for _, o := range []*MountOptions{
		{InMemory: -1}, {InMemory: 100}, {InMemory: 1 << 20, ReadOnly: true}, {InMemory: 1 << 20, Upper: "/a", Work: "/b"},
		{InMemory: 1 << 20, Copy: CopyAlways},
	} {
		_, err := Mount(t.Context(), layers, o)
		require.ErrorContains(t, err, "InMemory")
	}
}

// TestMountScratchIsGone: of the folders of a mount that nobody has named nothing is left, written to or not.
func TestMountScratchIsGone(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		lower := t.TempDir()
		for _, write := range []bool{false, true} {
			dir := t.TempDir()
			root, err := Mount(t.Context(), []Layer{{Dir: lower}}, &MountOptions{Target: dir})
			require.NoError(t, err)
			if write {
				require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "a/b/c"), []byte("1"), 0o644))
			}
			require.NoError(t, root.Close())
			left, err := os.ReadDir(tmp)
			require.NoError(t, err)
			require.Empty(t, left)
		}
	})
}
