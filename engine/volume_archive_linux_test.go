package engine

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/volume"
)

// described is all that an archive has to keep of a tree.
func described(t *testing.T, dir string) map[string]string {
	t.Helper()
	all, first := make(map[string]string), make(map[uint64]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(path, &st))
		name := strings.TrimPrefix(path, dir)
		text := fmt.Sprintf("%o %d:%d dev %x", st.Mode, st.Uid, st.Gid, st.Rdev)
		if name != "" && st.Mode&unix.S_IFMT != unix.S_IFLNK {
			text += fmt.Sprint(" time ", st.Mtim.Sec)
		}
		switch {
		case e.Type().IsRegular():
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			text += fmt.Sprintf(" %d %.20q", len(b), b)
			if other, ok := first[st.Ino]; ok {
				text = "= " + other
			}
			first[st.Ino] = name
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			require.NoError(t, err)
			text += " -> " + target
		}
		for _, x := range []string{"user.note", "security.capability", "trusted.note"} {
			b := make([]byte, 100)
			if n, err := unix.Lgetxattr(path, x, b); err == nil {
				text += fmt.Sprintf(" %s=%x", x, b[:n])
			}
		}
		all[name] = text
		return nil
	}))
	return all
}

// TestVolumeArchive: what a volume has is what an imported one gets of its archive, and its clone: owners, modes, times, links, devices, holes,
// attributes; also of a compressed one.
func TestVolumeArchive(t *testing.T) {
	e := newEngine(t)
	v, err := e.Volumes().Create("from", &volume.CreateOptions{Labels: map[string]string{"a": "b"}})
	require.NoError(t, err)
	at := func(name string) string { return filepath.Join(v.Path, name) }
	require.NoError(t, os.MkdirAll(at("sub/empty"), 0o755))
	require.NoError(t, os.WriteFile(at("sub/file"), []byte("content"), 0o640))
	require.NoError(t, os.Chown(at("sub/file"), 1000, 1001))
	require.NoError(t, os.Chmod(at("sub/file"), 0o750|fs.ModeSetuid))
	require.NoError(t, os.Link(at("sub/file"), at("hard")))
	require.NoError(t, os.Symlink("/etc/passwd", at("link")))
	require.NoError(t, os.Lchown(at("link"), 7, 8))
	require.NoError(t, os.Chmod(at("sub"), 0o770|fs.ModeSticky|fs.ModeSetgid))
	require.NoError(t, os.WriteFile(at("holes"), nil, 0o600))
	require.NoError(t, os.Truncate(at("holes"), 8<<20))
	require.NoError(t, unix.Mkfifo(at("fifo"), 0o622))
	require.NoError(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	require.NoError(t, unix.Setxattr(at("sub"), "user.note", []byte("kept"), 0))
	require.NoError(t, unix.Setxattr(at("sub/file"), "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	require.NoError(t, unix.Setxattr(at("sub/empty"), "trusted.note", []byte("kept"), 0))
	require.NoError(t, os.Chown(v.Path, 33, 34))
	require.NoError(t, os.Chmod(v.Path, 0o711))
	old := time.Unix(1_000_000_000, 0)
	for _, name := range []string{"sub/file", "sub/empty", "sub", "holes", "fifo", "null"} {
		require.NoError(t, os.Chtimes(at(name), old, old))
	}
	want := described(t, v.Path)
	require.Contains(t, want["/sub/file"], "= /hard")

	var plain bytes.Buffer
	require.NoError(t, e.ExportVolume(t.Context(), "from", &plain))
	zipped, zstded := &bytes.Buffer{}, &bytes.Buffer{}
	w := gzip.NewWriter(zipped)
	_, err = w.Write(plain.Bytes())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	z, err := zstd.NewWriter(zstded)
	require.NoError(t, err)
	_, err = z.Write(plain.Bytes())
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, b := range map[string]*bytes.Buffer{"plain": &plain, "gzip": zipped, "zstd": zstded} {
		got, err := e.ImportVolume(t.Context(), name, b, nil)
		require.NoError(t, err, name)
		require.Equal(t, want, described(t, got.Path), name)
		var st unix.Stat_t
		require.NoError(t, unix.Stat(filepath.Join(got.Path, "holes"), &st))
		require.Less(t, st.Blocks*512, int64(1<<20), name)
	}
	clone, err := e.CloneVolume(t.Context(), "from", "clone", nil)
	require.NoError(t, err)
	require.Equal(t, want, described(t, clone.Path))
	require.Equal(t, v.Labels, clone.Labels)
}
