package layer

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// FuzzExtract is that no bytes make Extract panic, write outside its folder, leave something when it fails, or a store
// that Check does not take when it succeeds.
func FuzzExtract(f *testing.F) {
	testenv.RequireRoot(f)
	for _, entries := range [][]entry{
		nil,
		{folderOf("d", 0o755), file("d/f", "x"), hardlink("h", "d/f"), symlink("l", "../.."), file("l/f", "y")},
		{file("../f", "x")},
		{file(".wh.a", ""), file("a/b", "x"), file("a/.wh..wh..opq", "")},
		{symlink("a", "/"), file("a/b", "x"), symlink("c", "a/c"), file("c/d", "x")},
		{entry{Header: fileHeader("a", 3, 0o4755), body: "x"}},
	} {
		data := newTar(f, entries...)
		f.Add(data)
		f.Add(gzipOf(f, data))
		f.Add(zstdOf(f, data))
	}
	f.Add(sparseTar(1 << 20))
	dir := f.TempDir()
	require.NoError(f, os.WriteFile(filepath.Join(dir, "outside"), []byte("untouched"), 0o600))
	s, err := Open(filepath.Join(dir, "store"))
	require.NoError(f, err)
	outside := func(t testing.TB) []string {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		data, err := os.ReadFile(filepath.Join(dir, "outside"))
		require.NoError(t, err)
		return append(all, string(data))
	}
	before := outside(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		o := &ExtractOptions{MaxSize: 64 << 20, MaxNames: 1000, MaxWindow: 1 << 20}
		p, err := s.Extract(t.Context(), bytes.NewReader(data), o)
		if err == nil {
			c := census{ctx: t.Context(), seen: map[inode]struct{}{}}
			require.NoError(t, c.walk(-1, filepath.Join(p.temp.path, contentName)))
			require.Equal(t, []int64{p.record.Names, p.record.Size}, []int64{c.names, c.size})
			require.NoError(t, p.Discard())
		}
		requireNoTemp(t, s)
		require.Equal(t, before, outside(t))
	})
}
