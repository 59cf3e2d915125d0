package treecopy

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A pipe that takes a folder's place while the tree is read is not waited for.
func TestPipeInPlaceOfFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "x"), 0o600))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	w := &writer{ctx: t.Context(), root: root, files: changerOf(root), tar: tar.NewWriter(io.Discard)}
	done := make(chan error, 1)
	go func() { done <- w.folder("x", "x") }()
	select {
	case err := <-done:
		require.Error(t, err)
	case <-time.After(time.Minute):
		f, err := os.OpenFile(filepath.Join(dir, "x"), os.O_WRONLY|unix.O_NONBLOCK, 0) // let it go
		require.NoError(t, err)
		require.NoError(t, f.Close())
		t.Fatal("it waits for a writer")
	}
}

func stream(t *testing.T, h *tar.Header, content string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h.Size, h.Typeflag = int64(len(content)), tar.TypeReg
	require.NoError(t, w.WriteHeader(h))
	_, err := io.WriteString(w, content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return &b
}

// A device that is mounted, as in a container with a user namespace, is the host's: it stays as it is.
func TestMountedDevice(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	device, place := filepath.Join(dir, "device"), filepath.Join(dir, "place")
	require.NoError(t, unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	require.NoError(t, os.Chmod(device, 0o666))
	require.NoError(t, os.WriteFile(place, nil, 0o600))
	require.NoError(t, unix.Mount(device, place, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(place, unix.MNT_DETACH)) })
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	err = Extract(t.Context(), root, stream(t, &tar.Header{Name: "place", Mode: 0o600}, "content"), nil)
	require.ErrorIs(t, err, unix.EBUSY)
	st, err := os.Stat(device)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o666), st.Mode().Perm())
}

// swapping is a tree that a container changes after something in it was looked at.
type swapping struct {
	*os.Root
	swap func()
}

func (s swapping) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := s.Root.OpenFile(name, flag, perm)
	s.swap()
	return f, err
}

// What takes the place of a mounted file, when it was seen to be one, is not written: it could be the host's disk.
func TestInPlaceOfMountedFile(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	etc, evil := filepath.Join(dir, "etc"), filepath.Join(dir, "evil")
	require.NoError(t, os.Mkdir(etc, 0o755))
	require.NoError(t, os.Mkdir(evil, 0o755))
	for _, name := range []string{dir + "/file", etc + "/hosts"} {
		require.NoError(t, os.WriteFile(name, []byte("before, and longer"), 0o600))
	}
	require.NoError(t, unix.Mount(dir+"/file", etc+"/hosts", "", unix.MS_BIND, ""))
	moved := filepath.Join(dir, "moved")
	t.Cleanup(func() { require.NoError(t, unix.Unmount(moved+"/hosts", unix.MNT_DETACH)) })
	require.NoError(t, unix.Mkfifo(evil+"/hosts", 0o600))
	pipe, err := os.OpenFile(evil+"/hosts", os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer pipe.Close()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	header := &tar.Header{Name: "etc/hosts", Mode: 0o644}
	require.NoError(t, Extract(t.Context(), root, stream(t, header, "content"), nil))
	b, err := os.ReadFile(dir + "/file")
	require.NoError(t, err)
	require.Equal(t, "content", string(b))

	swap := sync.OnceFunc(func() {
		require.NoError(t, os.Rename(etc, moved))
		require.NoError(t, os.Rename(evil, etc))
	})
	err = Extract(t.Context(), swapping{root, swap}, stream(t, header, "evil"), nil)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = unix.Read(int(pipe.Fd()), make([]byte, 1))
	require.ErrorIs(t, err, unix.EAGAIN)
}

func TestNoSetID(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for _, no := range []bool{false, true} {
		h := &tar.Header{Name: "x", Mode: 0o6755}
		require.NoError(t, Extract(t.Context(), root, stream(t, h, "content"), &Options{NoSetID: no}))
		st, err := os.Stat(filepath.Join(dir, "x"))
		require.NoError(t, err)
		require.Equal(t, !no, st.Mode()&os.ModeSetuid != 0)
		require.Equal(t, !no, st.Mode()&os.ModeSetgid != 0)
		require.Equal(t, os.FileMode(0o755), st.Mode().Perm())
	}
}
