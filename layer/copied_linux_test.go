package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// rich are layers with something of everything.
func rich(t *testing.T, s *Store) []Layer {
	with := func(e entry, uid int, xattrs ...string) entry {
		e.Uid, e.Gid, e.Format = uid, uid+1, tar.FormatPAX
		e.PAXRecords = map[string]string{}
		for i := 0; i < len(xattrs); i += 2 {
			e.PAXRecords[paxXattr+xattrs[i]] = xattrs[i+1]
		}
		return e
	}
	link := func(name, to string) entry {
		return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}}
	}
	node := func(name string, typ byte, major, minor int64) entry {
		return entry{Header: tar.Header{Name: name, Typeflag: typ, Mode: 0o640, Devmajor: major, Devminor: minor}}
	}
	return newLayers(t, s,
		[]entry{owned("./", 0o711, 9), owned("a", 0o1777, 2), with(file("a/f", "1"), 5, "user.x", "y", "trusted.overlay.opaque", "y"),
			link("a/g", "a/f"), link("b", "a/f"), symlink("l", "a/f"), node("null", tar.TypeChar, 1, 3), node("pipe", tar.TypeFifo, 0, 0),
			file("gone", "1"), owned("dir/sub", 0o700, 3), file("dir/sub/x", "1"), file("opq/x", "1"), file("was/file", "1"),
			with(file("suid", "1"), 0, "security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
		[]entry{file("a/new", "2"), file(".wh.gone", ""), file("dir/sub/y", strings.Repeat("2", 9000)), owned("opq", 0o750, 4),
			file("opq/.wh..wh..opq", ""), file("opq/y", "2"), file(".wh.was", ""), file("was", "now a file")},
		[]entry{file("dir/.wh.sub", ""), file("dir/sub/z", "3"), file("l/never", "a folder in a link's place")},
	)
}

// TestCopy is that a copy is what an overlay shows.
func TestCopy(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := rich(t, s)
	for n := 1; n <= len(layers); n++ {
		overlay := listing(t, mountAt(t, layers[:n], &MountOptions{ReadOnly: true}))
		copied := listing(t, mountAt(t, layers[:n], &MountOptions{ReadOnly: true, Copy: CopyAlways}))
		if !slices.ContainsFunc(overlay, escaped) { // Linux before 6.7 hides it
			for i := range copied {
				copied[i] = strings.ReplaceAll(copied[i], ` trusted.overlay.opaque="y"`, "")
			}
		}
		require.Equal(t, overlay, copied)
		require.Greater(t, len(copied), 12)
	}
	requireSparse(t, s)
}

// escaped tells whether an overlay shows an attribute that an image has given one of overlayfs's own names.
func escaped(entry string) bool { return strings.Contains(entry, "trusted.overlay.opaque") }

// requireSparse is that holes stay holes.
func requireSparse(t *testing.T, s *Store) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<30))
	_, err = f.WriteAt([]byte("x"), 5<<20)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	to := t.TempDir()
	require.NoError(t, Copy(t.Context(), []Layer{{Dir: dir}}, to))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(to, "sparse"), &st))
	require.Equal(t, int64(1<<30), st.Size)
	require.Less(t, st.Blocks*512, int64(1<<20))
	require.ErrorIs(t, Copy(t.Context(), []Layer{{Dir: dir}}, to), unix.ENOTEMPTY)
}

// TestCopyFallback is a writable root on a file system that overlayfs cannot write to: another overlay.
func TestCopyFallback(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := newLayers(t, s, []entry{file("a", "1"), file("b", "1")}, []entry{file(".wh.b", ""), file("c", "2")})
	outer := mountAt(t, layers, nil)
	o := &MountOptions{Upper: filepath.Join(outer, "upper"), Work: filepath.Join(outer, "work")}
	_, err := Mount(t.Context(), layers, o)
	require.ErrorContains(t, err, "is on an overlay")
	require.False(t, Copied(o.Work))
	require.NoDirExists(t, o.Upper)

	o.Copy = CopyFallback
	root, err := Mount(t.Context(), layers, o)
	require.NoError(t, err)
	require.True(t, Copied(o.Work))
	require.Equal(t, o.Upper, root.String())
	require.Equal(t, []string{"a=1", "c=2"}, names(t, o.Upper))
	require.NoError(t, os.WriteFile(filepath.Join(o.Upper, "d"), []byte("3"), 0o644))
	require.NoError(t, os.Remove(filepath.Join(o.Upper, "a")))
	require.NoError(t, root.Close())

	// It is used again, and its difference is a layer.
	root, err = Mount(t.Context(), layers, &MountOptions{Upper: o.Upper, Work: o.Work})
	require.NoError(t, err)
	require.Equal(t, []string{"c=2", "d=3"}, names(t, o.Upper))
	lower := mountAt(t, layers, &MountOptions{ReadOnly: true})
	var b bytes.Buffer
	require.NoError(t, Diff(t.Context(), &b, o.Upper, &DiffOptions{Lower: lower}))
	l, err := s.Add(t.Context(), &b, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"c=2", "d=3"}, names(t, mountAt(t, append(layers, l), &MountOptions{ReadOnly: true})))
	require.NoError(t, root.Close())
}

// TestCopyKeepsChanges is that an overlay's changes are never taken for a copy, nor replaced by one.
func TestCopyKeepsChanges(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := newLayers(t, s, []entry{file("a", "1")})
	dir := t.TempDir()
	o := &MountOptions{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Copy: CopyAlways}
	require.NoError(t, os.MkdirAll(filepath.Join(o.Upper, "changed"), 0o700))
	_, err := Mount(t.Context(), layers, o)
	require.ErrorIs(t, err, unix.ENOTEMPTY)
	require.NoDirExists(t, filepath.Join(o.Work, copyingName))
	require.False(t, o.wantsCopy(unix.EINVAL))
	o.Copy = CopyFallback
	require.False(t, o.wantsCopy(unix.EINVAL))
	require.NoError(t, os.Remove(filepath.Join(o.Upper, "changed")))
	require.True(t, o.wantsCopy(fmt.Errorf("x: %w", unix.EINVAL)))
	require.False(t, o.wantsCopy(unix.ENOSPC))
}

// TestCopyContinues is a copy that was killed at each of its steps.
func TestCopyContinues(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := newLayers(t, s, []entry{file("a", "1")})
	for name, prepare := range map[string]func(o *MountOptions) error{
		"half made": func(o *MountOptions) error { return os.MkdirAll(filepath.Join(o.Work, copyingName, "half"), 0o700) },
		"marked": func(o *MountOptions) error {
			if err := os.MkdirAll(filepath.Join(o.Work, copyingName), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(o.Work, copyingName, "a"), []byte("1"), 0o600); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(o.Work, copiedName), nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := &MountOptions{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Copy: CopyAlways}
			require.NoError(t, prepare(o))
			root, err := Mount(t.Context(), layers, o)
			require.NoError(t, err)
			require.Equal(t, []string{"a=1"}, names(t, o.Upper))
			require.NoDirExists(t, filepath.Join(o.Work, copyingName))
			require.NoError(t, root.Close())
		})
	}
}

// TestCopyFull is a copy that the file system has no space for.
func TestCopyFull(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := newLayers(t, s, []entry{file("a", strings.Repeat("x", 1<<20))})
	at := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", at, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, 0)) })
	o := &MountOptions{Upper: filepath.Join(at, "upper"), Work: filepath.Join(at, "work"), Copy: CopyAlways}
	_, err := Mount(t.Context(), layers, o)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, `"a"`)
	require.Empty(t, listing(t, o.Work)[1:])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Copy(ctx, layers, t.TempDir()), context.Canceled)
}

// TestCopyOwners is a copy shown with other owners.
func TestCopyOwners(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := newLayers(t, s, []entry{file("a", "1")})
	m := []namespace.IDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}}
	at := mountAt(t, layers, &MountOptions{Copy: CopyAlways, UIDMappings: m, GIDMappings: m})
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(at, "a"), &st))
	require.Equal(t, uint32(100000), st.Uid)
}
