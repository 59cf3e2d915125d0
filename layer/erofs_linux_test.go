package layer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/diskusage"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// newErofsStore makes a store that keeps layers as EROFS images.
func newErofsStore(t testing.TB) *Store {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 6, 12)
	testenv.RequireCommand(t, mkfsErofs)
	s := newStore(t)
	if err := s.Use(EROFS); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err) // a module that a virtual machine does not have
	} else {
		require.NoError(t, err)
	}
	return s
}

// TestErofs is that layers kept as EROFS images show what folders show, in every kind of mount and copy.
func TestErofs(t *testing.T) {
	images := newErofsStore(t)
	folders := newStore(t)
	packed, plain := rich(t, images), rich(t, folders)
	for n, l := range packed {
		require.Empty(t, l.Dir)
		require.FileExists(t, l.Image)
		require.NoDirExists(t, filepath.Join(filepath.Dir(l.Image), contentName))
		l.Image, l.Dir, l.Usage, l.scratch, l.implied = "", plain[n].Dir, plain[n].Usage, plain[n].scratch, plain[n].implied
		require.Equal(t, plain[n], l)
	}
	owner := []namespace.IDMapping{{HostID: 100000, Size: 65536}}
	own := func() (string, string) {
		dir := t.TempDir()
		return filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	}
	for name, o := range map[string]func() *MountOptions{
		"read-only": func() *MountOptions { return &MountOptions{ReadOnly: true} },
		"writable":  func() *MountOptions { return &MountOptions{} },
		"in memory": func() *MountOptions { return &MountOptions{InMemory: 1 << 20} },
		"copy":      func() *MountOptions { return &MountOptions{Copy: CopyAlways} },
		"owners": func() *MountOptions {
			o := &MountOptions{UIDMappings: owner, GIDMappings: owner}
			o.Upper, o.Work = own()
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T) {
				shown := func(layers []Layer) []string { return listing(t, mountAt(t, layers, o()))[1:] } // the root's time is the mount's
				for n := 1; n <= len(packed); n++ {
					want := shown(plain[:n])
					require.Equal(t, want, shown(packed[:n]))
					require.Greater(t, len(want), 12)
				}
				// One of each, as in a store whose format was changed.
				mixed := plain[1]
				mixed.scratch, mixed.implied = packed[1].scratch, packed[1].implied
				require.Equal(t, shown(plain), shown([]Layer{packed[0], mixed, packed[2]}))
			})
		})
	}
	root, err := Mount(t.Context(), packed, nil)
	require.NoError(t, err)
	require.NotContains(t, mountinfo(t), " - erofs ", "nothing is attached")
	require.NoError(t, root.Close())
}

// TestErofsStore is what a store does with an image: Check, another program's Open, the size, removal while it is mounted.
func TestErofsStore(t *testing.T) {
	s := newErofsStore(t)
	layers := rich(t, s)
	require.NoError(t, s.Check(t.Context()))
	again, err := Open(s.dir)
	require.NoError(t, err)
	for _, l := range layers {
		got, err := again.Get(l.DiffID)
		require.NoError(t, err)
		require.Equal(t, l, got)
		var meter diskusage.Meter
		n, err := meter.Tree(t.Context(), l.Image)
		require.NoError(t, err)
		require.Equal(t, n, l.Usage)
		same, err := s.Add(t.Context(), bytes.NewReader(archived(t, l)), nil)
		require.NoError(t, err)
		require.NoError(t, s.Remove(t.Context(), same.DiffID))
	}
	at := mountAt(t, layers[:1], nil)
	want := listing(t, at)
	for _, l := range layers {
		require.NoError(t, s.Remove(t.Context(), l.DiffID))
	}
	require.Equal(t, want, listing(t, at), "what is mounted stays")
	left, err := s.List()
	require.NoError(t, err)
	require.Empty(t, left)
}

// archived is a layer that a layer of an image is read for.
func archived(t *testing.T, l Layer) []byte {
	var b bytes.Buffer
	require.NoError(t, Archive(t.Context(), &b, mountAt(t, []Layer{l}, &MountOptions{ReadOnly: true})))
	return b.Bytes()
}

// TestErofsDamaged is that Check sees an image that is not whole, and that nothing mounts it.
func TestErofsDamaged(t *testing.T) {
	s := newErofsStore(t)
	l := newLayers(t, s, []entry{file("d/f", "12345"), hardlink("d/h", "d/f")})[0]
	whole, err := os.ReadFile(l.Image)
	require.NoError(t, err)
	for _, spoil := range []func() error{
		func() error { return os.Truncate(l.Image, 100) },
		func() error { return os.WriteFile(l.Image, make([]byte, len(whole)), 0o600) },
		func() error { return os.Remove(l.Image) },
	} {
		require.NoError(t, spoil())
		require.Error(t, s.Check(t.Context()))
		_, err := Mount(t.Context(), []Layer{l}, nil)
		require.ErrorContains(t, err, l.Image)
		require.NoError(t, os.WriteFile(l.Image, whole, 0o600))
		require.NoError(t, s.Check(t.Context()))
	}
}

// TestErofsSparse is that holes are not written out: such a layer is a folder.
func TestErofsSparse(t *testing.T) {
	s := newErofsStore(t)
	l, err := s.Add(t.Context(), bytes.NewReader(sparseTar(1<<30)), nil)
	require.NoError(t, err)
	require.DirExists(t, l.Dir)
	require.Empty(t, l.Image)
	require.NoError(t, s.Check(t.Context()))
}

// TestErofsFails is that a failure leaves nothing, and says what it is.
func TestErofsFails(t *testing.T) {
	s := newErofsStore(t)
	data := newTar(t, file("f", strings.Repeat("x", 1<<20)))
	failure := errors.New("fault")
	s.fault = func(step string) error {
		if step == mkfsErofs {
			return failure
		}
		return nil
	}
	_, err := s.Add(t.Context(), bytes.NewReader(data), nil)
	require.ErrorIs(t, err, failure)
	requireNoTemp(t, s)
	s.fault = nil

	t.Run("program", func(t *testing.T) {
		dir := t.TempDir()
		fake := filepath.Join(dir, mkfsErofs)
		for script, want := range map[string]string{
			"echo it does not like it >&2; exit 3": "it does not like it",
			": > $1":                               "mount ",
		} {
			require.NoError(t, os.WriteFile(fake, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			_, err := s.Add(t.Context(), bytes.NewReader(data), nil)
			require.ErrorContains(t, err, want)
			requireNoTemp(t, s)
		}
		t.Setenv("PATH", t.TempDir())
		err := s.Use(EROFS)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "erofs-utils")
		require.NoError(t, s.Use(Folder))
		require.ErrorIs(t, s.Use(7), unix.EINVAL)
		requireNoTemp(t, s)
		l, err := s.Add(t.Context(), bytes.NewReader(data), nil)
		require.NoError(t, err)
		require.DirExists(t, l.Dir)
	})
	t.Run("full", func(t *testing.T) {
		dir := testenv.NewDisk(t, 4)
		s, err := Open(filepath.Join(dir, "store"))
		require.NoError(t, err)
		require.NoError(t, s.Use(EROFS))
		_, err = s.Add(t.Context(), bytes.NewReader(newTar(t, file("f", strings.Repeat("x", 2<<20)))), nil) // there is room for one
		require.ErrorIs(t, err, unix.ENOSPC)
		requireNoTemp(t, s)
		_, err = s.Add(t.Context(), bytes.NewReader(newTar(t, file("f", "small"))), nil)
		require.NoError(t, err)
	})
}

// TestErofsAdopt is that an image that was made whole before its process was killed comes into the store.
func TestErofsAdopt(t *testing.T) {
	s := newErofsStore(t)
	for _, whole := range []bool{false, true} {
		p, err := s.Extract(t.Context(), bytes.NewReader(newTar(t, file("f", "x"))), nil)
		require.NoError(t, err)
		if !whole {
			require.NoError(t, os.Rename(filepath.Join(p.temp.path, imageName), filepath.Join(p.temp.path, contentName)))
		}
		require.NoError(t, p.temp.lock.Close()) // as the end of the process does
		again, err := Open(s.dir)
		require.NoError(t, err)
		requireNoTemp(t, again)
		_, err = again.Get(p.DiffID)
		if !whole {
			require.ErrorIs(t, err, ErrNotFound)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, again.Check(t.Context()))
	}
}

// TestErofsOldKernel is what a kernel says that mounts no file.
func TestErofsOldKernel(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, mkfsErofs)
	s := newStore(t)
	err := s.Use(EROFS)
	if err == nil {
		return // TestErofs shows that it works
	}
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Regexp(t, `6\.12|CONFIG_EROFS_FS`, err.Error())
	require.Equal(t, Folder, s.format)
}

// TestErofsImage mounts an image that is there, for kernels whose virtual machine has no mkfs.erofs.
func TestErofsImage(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 6, 12)
	data, err := os.ReadFile("testdata/small.erofs")
	require.NoError(t, err)
	dir := t.TempDir()
	l := Layer{Image: filepath.Join(dir, imageName)}
	require.NoError(t, os.WriteFile(l.Image, data, 0o600))
	fd, err := mountErofs(l.Image)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	owner := []namespace.IDMapping{{HostID: 100000, Size: 65536}}
	eachWay(t, func(t *testing.T) {
		for uid, o := range map[uint32]*MountOptions{
			7:      {InMemory: 1 << 20},
			100007: {UIDMappings: owner, GIDMappings: owner, Upper: filepath.Join(t.TempDir(), "upper")},
		} {
			if o.Upper != "" {
				o.Work = filepath.Join(filepath.Dir(o.Upper), "work")
			}
			at := mountAt(t, []Layer{l, {Dir: t.TempDir()}}, o)
			got, err := os.ReadFile(filepath.Join(at, "d/g"))
			require.NoError(t, err)
			require.Equal(t, "hello", string(got))
			var st unix.Stat_t
			require.NoError(t, unix.Lstat(filepath.Join(at, "d/f"), &st))
			require.Equal(t, uid, st.Uid)
		}
	})
}
