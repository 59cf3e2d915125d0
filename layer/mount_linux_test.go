package layer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func newLayers(t testing.TB, s *Store, streams ...[]entry) []Layer {
	t.Helper()
	var layers []Layer
	for _, entries := range streams {
		l, err := s.Add(t.Context(), bytes.NewReader(newTar(t, entries...)), nil)
		require.NoError(t, err)
		layers = append(layers, l)
	}
	return layers
}

// eachWay runs a test with both ways to mount.
func eachWay(t *testing.T, test func(t *testing.T)) {
	testenv.RequireRoot(t)
	appends, err := appendsLower()
	require.NoError(t, err)
	if appends {
		t.Run("new", test)
	}
	t.Run("old", func(t *testing.T) {
		oldMount = true
		defer func() { oldMount = false }()
		test(t)
	})
}

// mountAt mounts the layers for the test's life.
func mountAt(t testing.TB, layers []Layer, o *MountOptions) string {
	t.Helper()
	if o == nil {
		o = &MountOptions{}
	}
	o.Target = t.TempDir()
	root, err := Mount(t.Context(), layers, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	require.Equal(t, o.Target, root.String())
	return o.Target
}

func mountinfo(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	return string(data)
}

func TestMountMerges(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		layers := newLayers(t, s,
			[]entry{folderOf("./", 0o711), file("keep", "1"), file("change", "1"), file("gone", "1"),
				file("d/a", "1"), file("o/a", "1"),
				file("r/a", "1")},
			[]entry{file("change", "2"), file(".wh.gone", ""), file("d/b", "2"), file("o/.wh..wh..opq", ""),
				file("o/b", "2"),
				file(".wh.r", ""), folderOf("r", 0o755), file("r/b", "2")},
		)
		dir := mountAt(t, layers, nil)
		require.Equal(t, []string{"change=2", "d/", "d/a=1", "d/b=2", "keep=1", "o/", "o/b=2", "r/", "r/b=2"},
			names(t, dir))
		before := listing(t, layers[0].Dir)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "keep"), []byte("3"), 0o644))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "d")))
		require.Equal(t, []string{"change=2", "keep=3", "o/", "o/b=2", "r/", "r/b=2"}, names(t, dir))
		require.Equal(t, before, listing(t, layers[0].Dir))
	})
}

func TestMountDetached(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		layers := newLayers(t, s, []entry{file("a", "1")}, []entry{file("b", "2")})
		namespaceBefore := readlink(t, "/proc/self/ns/mnt")
		root, err := Mount(t.Context(), layers, nil)
		require.NoError(t, err)
		require.NotContains(t, mountinfo(t), os.TempDir()) // nor among the lower folders of any
		require.Equal(t, namespaceBefore, readlink(t, "/proc/self/ns/mnt"))
		require.NoError(t, root.Close())
		require.NoError(t, root.Close())
		requireNoTemp(t, s)
	})
}

func readlink(t testing.TB, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	require.NoError(t, err)
	return target
}

func TestMountReadOnly(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		layers := newLayers(t, s,
			[]entry{file("a", "1"), file(".wh.never-there", "")},
			[]entry{file("b", "2")},
		)
		for n := range layers {
			dir := mountAt(t, layers[:n+1], &MountOptions{ReadOnly: true})
			require.Equal(t, []string{"a=1", "b=2"}[:n+1], names(t, dir))
			require.ErrorIs(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o644), unix.EROFS)
			require.ErrorIs(t, os.Remove(filepath.Join(dir, "a")), unix.EROFS)
		}
	})
}

func TestMountOpaqueRoot(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		layers := newLayers(t, s, []entry{file("a", "1")}, []entry{file(".wh..wh..opq", ""), file("b", "2")},
			[]entry{file("c", "3")})
		require.True(t, layers[1].Opaque)
		require.Equal(t, []string{"b=2", "c=3"}, names(t, mountAt(t, layers, nil)))
	})
}

func TestMountUpper(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		root := folderOf("./", 0o2711)
		root.Uid, root.Gid = 7, 8
		layers := newLayers(t, s, []entry{root, file("a", "1"), file("d/b", "1")})
		dir := t.TempDir()
		o := &MountOptions{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Target: t.TempDir()}
		for i := range 2 {
			r, err := Mount(t.Context(), layers, o)
			require.NoError(t, err)
			var st unix.Stat_t
			require.NoError(t, unix.Stat(o.Target, &st))
			require.Equal(t, []uint32{unix.S_IFDIR | 0o2711, 7, 8}, []uint32{st.Mode, st.Uid, st.Gid})
			f := filepath.Join(o.Target, "new")
			if i == 0 {
				require.NoError(t, os.WriteFile(f, []byte("kept"), 0o644))
				require.NoError(t, os.Remove(filepath.Join(o.Target, "a")))
			}
			require.Equal(t, []string{"d/", "d/b=1", "new=kept"}, names(t, o.Target))
			require.NoError(t, r.Close())
		}
		require.Equal(t, []string{"a whiteout", "new=kept"}, names(t, o.Upper))
		requireNoTemp(t, s)
	})
}

// TestMountVolatile: what is thrown away is not synced, and can be mounted again.
func TestMountVolatile(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		layers := newLayers(t, newStore(t), []entry{file("a", "1")})
		dir := t.TempDir()
		o := &MountOptions{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Target: t.TempDir(), Volatile: true}
		for i := range 2 {
			r, err := Mount(t.Context(), layers, o)
			require.NoError(t, err)
			require.DirExists(t, filepath.Join(o.Work, "work", "incompat", "volatile"))
			require.NoError(t, os.WriteFile(filepath.Join(o.Target, strconv.Itoa(i)), nil, 0o644))
			require.NoError(t, r.Close())
		}
		require.Equal(t, []string{"0=", "1="}, names(t, o.Upper))
		_, err := Mount(t.Context(), layers, &MountOptions{ReadOnly: true, Volatile: true})
		require.ErrorContains(t, err, "Volatile")
	})
}

// TestMountShared is that a mount at a folder does not spread to the peers of the mount that the folder is on.
func TestMountShared(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	layers := newLayers(t, s, []entry{file("a", "1")})
	shared, peer := t.TempDir(), t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", shared, "tmpfs", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(shared, 0)) })
	require.NoError(t, unix.Mount("", shared, "", unix.MS_SHARED, ""))
	require.NoError(t, os.Mkdir(filepath.Join(shared, "d"), 0o755))
	require.NoError(t, unix.Mount(shared, peer, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(peer, 0)) })
	r, err := Mount(t.Context(), layers, &MountOptions{Target: filepath.Join(shared, "d")})
	require.NoError(t, err)
	require.Equal(t, []string{"a=1"}, names(t, filepath.Join(shared, "d")))
	require.NoError(t, r.Close())
	require.Empty(t, names(t, filepath.Join(shared, "d")))
	require.Empty(t, names(t, filepath.Join(peer, "d")))
}

func TestMountManyLayers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		var layers []Layer
		dir := t.TempDir()
		for i := range maxLayers {
			l := Layer{Dir: filepath.Join(dir, fmt.Sprint(i))}
			require.NoError(t, os.Mkdir(l.Dir, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(l.Dir, fmt.Sprint("f", i)), nil, 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(l.Dir, "top"), []byte(fmt.Sprint(i)), 0o644))
			layers = append(layers, l)
		}
		at := mountAt(t, layers, nil)
		all := names(t, at)
		require.Len(t, all, maxLayers+1)
		require.Equal(t, fmt.Sprint("top=", maxLayers-1), all[maxLayers])
		_, err := Mount(t.Context(), append(layers, layers[0]), nil)
		require.ErrorContains(t, err, "501 are too many")
	})
}

// TestMountPaths is stores whose paths do not fit into an option's value, or mean something in one.
func TestMountPaths(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		for _, name := range []string{strings.Repeat("long/", 60), `a,b:c\d=e`, "sp ace\nü", `back\`} {
			dir := filepath.Join(t.TempDir(), name)
			s, err := Open(dir)
			require.NoError(t, err)
			layers := newLayers(t, s, []entry{file("a", "1")}, []entry{file("b", "2")})
			at := mountAt(t, layers, &MountOptions{Upper: filepath.Join(dir, "u,p:per"),
				Work: filepath.Join(dir, "work")})
			require.NoError(t, os.WriteFile(filepath.Join(at, "c"), []byte("3"), 0o644))
			require.Equal(t, []string{"a=1", "b=2", "c=3"}, names(t, at))
			require.Equal(t, []string{"c=3"}, names(t, filepath.Join(dir, "u,p:per")))
		}
	})
}

func TestMountErrors(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		s := newStore(t)
		layers := newLayers(t, s, []entry{file("a", "1")}, []entry{file("b", "2")})
		tmpfs := t.TempDir()
		require.NoError(t, unix.Mount("tmpfs", tmpfs, "tmpfs", 0, ""))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(tmpfs, 0)) })
		on := mountAt(t, layers, nil)
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		for _, c := range []struct {
			layers []Layer
			o      MountOptions
			want   string
		}{
			{nil, MountOptions{}, "mount layers: there are none"},
			{layers, MountOptions{Upper: at("u")}, "set both Upper and Work, or none"},
			{layers, MountOptions{Upper: at("u"), Work: at("w"), ReadOnly: true}, "a read-only one has no Upper"},
			{layers, MountOptions{Upper: at("u"), Work: filepath.Join(tmpfs, "w")}, "must be on the same file system"},
			{layers, MountOptions{Upper: filepath.Join(on, "u"), Work: filepath.Join(on, "w")},
				"is on an overlay, which overlayfs cannot write to: use a folder on ext4, xfs, btrfs or tmpfs"},
			{layers, MountOptions{Upper: at("missing/u"), Work: at("w")}, "no such file or directory"},
			{[]Layer{layers[0], {Dir: at("nothing")}}, MountOptions{}, at("nothing") + ": no such file or directory"},
			{[]Layer{{Dir: at("nothing")}, layers[0]}, MountOptions{}, at("nothing") + ": no such file or directory"},
			{layers, MountOptions{Target: at("nowhere")}, "attach at " + at("nowhere") + ": no such file or directory"},
		} {
			_, err := Mount(t.Context(), c.layers, &c.o)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, names(t, dir), "left by: %v", err)
		}
	})
}

// TestMountInUse is that Close takes a mount away that somebody still has a file open on.
func TestMountInUse(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	at := t.TempDir()
	r, err := Mount(t.Context(), newLayers(t, s, []entry{file("a", "1")}), &MountOptions{Target: at})
	require.NoError(t, err)
	f, err := os.Open(filepath.Join(at, "a"))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "1", string(data))
	require.NoError(t, f.Close())
	require.Empty(t, names(t, at))
}
