package volume

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

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

// TestCloneSharesBlocks: on btrfs three copies of what fills most of the disk fit, and each can be changed alone.
func TestCloneSharesBlocks(t *testing.T) {
	testenv.RequireRoot(t)
	if testenv.VM() {
		t.Skip("mkfs.btrfs is not here")
	}
	testenv.RequireCommand(t, "mkfs.btrfs", "mount", "umount")
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 256<<20))
	run := func(name string, args ...string) {
		out, err := exec.Command(name, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	run("mkfs.btrfs", "-q", "--mixed", image)
	run("mount", "-o", "loop", image, dir)
	defer run("umount", dir)
	s, err := Open(filepath.Join(dir, "volumes"))
	require.NoError(t, err)
	v, err := s.Create("large", nil)
	require.NoError(t, err)
	content := make([]byte, 128<<20)
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
}

// TestCloneIsNotSwept: what is being copied is in nobody's way, and whoever opens the store meanwhile leaves it alone.
func TestCloneIsNotSwept(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	_, err := s.make("copy", nil, func(data string) error {
		other, err := Open(s.dir)
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
	_, err = Open(s.dir)
	require.NoError(t, err)
	require.NoDirExists(t, tmp)
}

// requireQuotas returns a store on a file system with project quotas.
func requireQuotas(t *testing.T) *Store {
	t.Helper()
	testenv.RequireRoot(t)
	s := newStore(t)
	v, err := s.Create("probe", &CreateOptions{Size: 1 << 20})
	if errors.Is(err, errors.ErrUnsupported) && !testenv.VM() {
		require.NoDirExists(t, s.path("probe"))
		t.Skip("needs a file system with project quotas, as the virtual machines have")
	}
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, v.Size)
	require.NoError(t, s.Remove("probe"))
	return s
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
	s := requireQuotas(t)
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
	if err := quotactl(f, getProjectQuota, project, &q); !errors.Is(err, unix.ENOENT) {
		require.NoError(t, err)
	}
	require.Zero(t, q.spaceHard)
	require.Less(t, q.space, uint64(size/2))
}
