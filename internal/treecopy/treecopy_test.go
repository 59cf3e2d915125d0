package treecopy_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/treecopy"
)

func openRoot(t *testing.T, dir string) treecopy.Tree {
	t.Helper()
	r, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestThereAndBack(t *testing.T) {
	for name, open := range trees(t) {
		t.Run(name, func(t *testing.T) { thereAndBack(t, open) })
	}
}

func thereAndBack(t *testing.T, open func(*testing.T, string) treecopy.Tree) {
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(from+"/a/b", 0o750))
	require.NoError(t, os.WriteFile(from+"/a/b/file", []byte("content"), 0o640))
	require.NoError(t, os.Symlink("/etc/passwd", from+"/a/out"))
	require.NoError(t, os.Chmod(from+"/a/b", 0o710))
	day := time.Unix(1_000_000_000, 0)
	require.NoError(t, os.Chtimes(from+"/a/b", day, day))
	var b bytes.Buffer
	require.NoError(t, treecopy.Write(t.Context(), &b, open(t, from), "a", "top", nil))
	root := open(t, to)
	for range 2 { // the second time over what is there
		require.NoError(t, treecopy.Extract(t.Context(), root, bytes.NewReader(b.Bytes()), &treecopy.Options{
			Rename: func(name string) string { return strings.Replace(name, "top", "new", 1) },
		}))
	}
	got, err := os.ReadFile(to + "/new/b/file")
	require.NoError(t, err)
	require.Equal(t, "content", string(got))
	link, err := os.Readlink(to + "/new/out")
	require.NoError(t, err)
	require.Equal(t, "/etc/passwd", link)
	st, err := os.Stat(to + "/new/b")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o710), st.Mode().Perm())
	require.True(t, st.ModTime().Equal(day))
	require.NoError(t, os.Chmod(from+"/a/b", 0o750))
	require.NoError(t, os.Chmod(to+"/new/b", 0o750))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, treecopy.Write(ctx, &b, open(t, from), "a", "top", nil), context.Canceled)
}

// Neither names nor links lead out of the folder.
func TestHostile(t *testing.T) {
	for name, open := range trees(t) {
		t.Run(name, func(t *testing.T) { hostile(t, open) })
	}
}

func hostile(t *testing.T, open func(*testing.T, string) treecopy.Tree) {
	outside := t.TempDir()
	for name, entries := range map[string][]tar.Header{
		"above":      {{Name: "../x", Typeflag: tar.TypeReg}},
		"absolute":   {{Name: outside + "/x", Typeflag: tar.TypeReg}},
		"by a link":  {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "l/x", Typeflag: tar.TypeReg}},
		"hard link":  {{Name: "x", Typeflag: tar.TypeLink, Linkname: "../../../etc/passwd"}},
		"link first": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "x", Typeflag: tar.TypeLink, Linkname: "l/passwd"}},
		"device":     {{Name: "x", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"on a folder": {
			{Name: "x/y", Typeflag: tar.TypeReg}, {Name: "x", Typeflag: tar.TypeReg},
		},
		"on a file": {{Name: "x", Typeflag: tar.TypeReg}, {Name: "x", Typeflag: tar.TypeDir}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range entries {
				h.Mode = 0o644
				require.NoError(t, w.WriteHeader(&h))
			}
			require.NoError(t, w.Close())
			require.Error(t, treecopy.Extract(t.Context(), open(t, t.TempDir()), &b, nil))
			left, err := filepath.Glob(outside + "/*")
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	require.Error(t, treecopy.Extract(t.Context(), open(t, outside), strings.NewReader(strings.Repeat("rubbish", 100)), nil))
	// A link in place of a file is replaced, not followed.
	dir, target := t.TempDir(), filepath.Join(outside, "target")
	require.NoError(t, os.WriteFile(target, []byte("mine"), 0o600))
	require.NoError(t, os.Symlink(target, dir+"/x"))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Mode: 0o600, Size: 3}))
	_, err := w.Write([]byte("new"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, treecopy.Extract(t.Context(), open(t, dir), &b, nil))
	got, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "mine", string(got))
}
