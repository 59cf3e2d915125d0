package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func TestClone(t *testing.T) {
	testenv.RequireRoot(t)
	s, image := newStore(t), newImage(t)
	ctx := context.Background()
	v, err := s.CreateFrom(ctx, "first", &CreateOptions{Labels: map[string]string{"a": "b"}}, filepath.Join(image, "data"))
	require.NoError(t, err)
	want := listing(t, filepath.Join(image, "data"))
	delete(want, "/whiteout")
	requireSame(t, want, listing(t, v.Path))

	second, err := s.Clone(ctx, "first", "second", nil)
	require.NoError(t, err)
	require.Equal(t, v.Labels, second.Labels)
	require.NoError(t, os.WriteFile(filepath.Join(v.Path, "plain"), []byte("changed"), 0o600))
	requireSame(t, want, listing(t, second.Path))
	third, err := s.Clone(ctx, "first", "third", &CreateOptions{})
	require.NoError(t, err)
	require.Empty(t, third.Labels)

	_, err = s.Clone(ctx, "first", "second", nil)
	require.ErrorIs(t, err, ErrExists)
	_, err = s.Clone(ctx, "missing", "fourth", nil)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.CreateFrom(ctx, "fourth", nil, filepath.Join(image, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	ended, end := context.WithCancel(ctx)
	end()
	_, err = s.Clone(ended, "first", "fourth", nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Get("fourth")
	require.ErrorIs(t, err, ErrNotFound)
}

// mountFile mounts the file system in a file for the time of the test.
func mountFile(t *testing.T, kind, options string) (dir string) {
	t.Helper()
	testenv.RequireRoot(t)
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run := func(args ...string) error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return err
	}
	make := map[string][]string{
		"btrfs": {"mkfs.btrfs", "-q", "--mixed", image},
		"xfs":   {"mkfs.xfs", "-q", "--unsupported", image}, // which is that it is small
	}[kind]
	testenv.RequireCommand(t, "mount", "umount")
	if testenv.VM() && kind == "xfs" { // where an empty one is
		make = []string{"cp", "/xfs.img", image}
	} else if testenv.VM() {
		t.Skip("mkfs.btrfs is not here")
	}
	testenv.RequireCommand(t, make[0])
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 48<<20))
	require.NoError(t, run(make...))
	if err := run("mount", "-t", kind, "-o", "loop,"+options, image, dir); err != nil {
		if options == "prjquota" && !testenv.VM() {
			t.Skipf("needs a kernel with quotas of %s, as the virtual machines have: %v", kind, err)
		}
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, run("umount", dir)) })
	return dir
}

// TestCloneSharesBlocks: on btrfs and xfs three copies of what fills most of the disk fit, and each can be changed alone.
func TestCloneSharesBlocks(t *testing.T) {
	for _, kind := range []string{"btrfs", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			s, err := Open(filepath.Join(mountFile(t, kind, "rw"), "volumes"))
			require.NoError(t, err)
			v, err := s.Create("large", nil)
			require.NoError(t, err)
			content := make([]byte, 24<<20)
			_, _ = rand.NewChaCha8([32]byte{}).Read(content)
			require.NoError(t, os.WriteFile(filepath.Join(v.Path, "file"), content, 0o600))
			for _, name := range []string{"c1", "c2", "c3"} {
				_, err := s.Clone(context.Background(), "large", name, nil)
				require.NoError(t, err)
			}
			require.NoError(t, os.WriteFile(s.path("c1", dataName, "file"), []byte("changed"), 0o600))
			for _, name := range []string{"large", "c2", "c3"} {
				got, err := os.ReadFile(s.path(name, dataName, "file"))
				require.NoError(t, err)
				require.True(t, bytes.Equal(content, got), name)
			}
			require.NoError(t, s.Check(context.Background()))
		})
	}
}

// TestCloneIsNotSwept: what is being copied is in nobody's way, and whoever opens the store meanwhile leaves it alone.
func TestCloneIsNotSwept(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	_, err := s.make("copy", nil, func(data string) error {
		other, err := Open(s.docs.Dir)
		require.NoError(t, err)
		require.DirExists(t, data)
		_, err = other.Create("meanwhile", nil)
		require.NoError(t, err)
		require.NoError(t, other.Remove("meanwhile"))
		return copyFolder(context.Background(), dir, data)
	})
	require.NoError(t, err)

	tmp := s.path(tmpName, "abandoned")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	l, held, err := durable.TryAcquireDir(tmp)
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, l.Close()) // as the end of its process does
	_, err = Open(s.docs.Dir)
	require.NoError(t, err)
	require.NoDirExists(t, tmp)
}

// withoutResource calls without CAP_SYS_RESOURCE, which is above quotas.
func withoutResource(t *testing.T, call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data, less [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &data[0]))
	less = data
	less[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	require.NoError(t, unix.Capset(&header, &less[0]))
	defer func() { require.NoError(t, unix.Capset(&header, &data[0])) }()
	return call()
}

func TestQuota(t *testing.T) {
	testenv.RequireRoot(t)
	t.Run("xfs", func(t *testing.T) {
		s, err := Open(filepath.Join(mountFile(t, "xfs", "prjquota"), "volumes"))
		require.NoError(t, err)
		quotas(t, s)
	})
	t.Run("ext4", func(t *testing.T) {
		s := newStore(t)
		_, err := s.Create("probe", &CreateOptions{Size: 1 << 20})
		if errors.Is(err, errors.ErrUnsupported) && !testenv.VM() {
			require.NoDirExists(t, s.path("probe"))
			t.Skip("needs a file system with project quotas, as the virtual machines have")
		}
		require.NoError(t, err)
		require.NoError(t, s.Remove("probe"))
		if testenv.VM() {
			var st unix.Statfs_t
			require.NoError(t, unix.Statfs(s.docs.Dir, &st))
			require.EqualValues(t, unix.EXT4_SUPER_MAGIC, st.Type)
		}
		quotas(t, s)
	})
}

// quotas bounds the sizes of a store's volumes.
func quotas(t *testing.T, s *Store) {
	const size = 1 << 20
	v, err := s.Create("small", &CreateOptions{Size: size})
	require.NoError(t, err)
	write := func(path string, n int) error {
		return withoutResource(t, func() error {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err = f.Write(make([]byte, n)); err != nil {
				return err
			}
			return f.Sync()
		})
	}
	require.EqualValues(t, size, v.Size)
	require.NoError(t, write(filepath.Join(v.Path, "fits"), size/2))
	require.NoError(t, os.Mkdir(filepath.Join(v.Path, "sub"), 0o755))
	err = write(filepath.Join(v.Path, "sub/large"), size)
	require.True(t, errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT), "%v", err)
	require.NoError(t, os.Remove(filepath.Join(v.Path, "sub/large")))

	other, err := s.Create("other", nil)
	require.NoError(t, err)
	require.NoError(t, write(filepath.Join(other.Path, "large"), 2*size))
	_, err = s.Clone(context.Background(), "small", "clone", nil)
	require.NoError(t, err)
	got, err := s.Get("clone")
	require.NoError(t, err)
	require.EqualValues(t, size, got.Size)
	_, err = s.Clone(context.Background(), "small", "unbound", &CreateOptions{})
	require.NoError(t, err)

	// Content of an image moves into the project.
	image := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(image, "file"), make([]byte, size/4), 0o600))
	filled, err := s.Create("filled", &CreateOptions{Size: size})
	require.NoError(t, err)
	require.NoError(t, s.Populate(context.Background(), "filled", namespace.Dir(image), "/"))
	require.FileExists(t, filepath.Join(filled.Path, "file"))
	require.Error(t, write(filepath.Join(filled.Path, "more"), size))

	// Nothing is left of the limit when the volume is gone.
	f, err := os.Open(v.Path)
	require.NoError(t, err)
	defer f.Close()
	project := projectOf(f)
	require.NotZero(t, project)
	require.NoError(t, s.Remove("small"))
	var q quota
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) { // xfs frees what is deleted a little later
		if err := quotactl(f, getProjectQuota, project, &q); !errors.Is(err, unix.ENOENT) {
			require.NoError(t, err)
		}
		if q.space < size/2 || time.Since(begin) > time.Minute {
			break
		}
	}
	require.Zero(t, q.spaceHard)
	require.Less(t, q.space, uint64(size/2))
}
