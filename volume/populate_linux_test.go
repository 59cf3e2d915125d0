package volume

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// newImage makes a root file system with all kinds of entries at /data, and a secret beside the root.
func newImage(t *testing.T) (dir string) {
	top := t.TempDir()
	dir = filepath.Join(top, "root")
	at := func(name string) string { return filepath.Join(dir, "data", name) }
	require.NoError(t, os.MkdirAll(at("sub/deep"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(at("plain"), []byte("plain"), 0o640))
	require.NoError(t, os.Link(at("plain"), at("sub/hard")))
	require.NoError(t, os.Symlink("plain", at("link")))
	require.NoError(t, os.Symlink(filepath.Join(top, "secret"), at("out")))
	require.NoError(t, os.Symlink(top, at("sub/outdir")))
	require.NoError(t, unix.Mkfifo(at("fifo"), 0o622))
	f, err := os.Create(at("sparse"))
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("middle"), 8<<20)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(24<<20))
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(at("empty"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("sub/deep/big"), []byte(strings.Repeat("0123456789", 200_000)), 0o600))
	if os.Geteuid() == 0 {
		require.NoError(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		require.NoError(t, unix.Mknod(at("whiteout"), unix.S_IFCHR, 0))
		require.NoError(t, os.Lchown(at("plain"), 1000, 1001))
		require.NoError(t, os.Lchown(at("link"), 1002, 1003))
		require.NoError(t, os.Chown(at(""), 33, 34))
		require.NoError(t, os.Chmod(at("sub"), 0o2775|fs.ModeSetgid))
		require.NoError(t, os.Chmod(at("plain"), 0o755|fs.ModeSetuid))
		// cap_net_raw=ep
		require.NoError(t, unix.Setxattr(at("sub/deep/big"), "security.capability",
			[]byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
		require.NoError(t, unix.Setxattr(at("sub"), "trusted.note", []byte("kept"), 0))
		require.NoError(t, unix.Setxattr(at("sub"), "trusted.overlay.opaque", []byte("y"), 0))
	}
	old := time.Unix(1_000_000_000, 123456789)
	for _, name := range []string{"plain", "sub/deep", "sub", ""} {
		require.NoError(t, os.Chtimes(at(name), old, old))
	}
	return dir
}

// listing describes a tree: all that a copy has to keep.
func listing(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	first := map[uint64]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(p, &st))
		name := strings.TrimPrefix(p, dir)
		text := fmt.Sprintf("%o %d:%d %x", st.Mode, st.Uid, st.Gid, st.Rdev)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			require.NoError(t, err)
			text += " -> " + target
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			text += fmt.Sprintf(" %d bytes %d", len(b), st.Mtim.Nsec)
			if len(b) < 1<<20 {
				text += " " + string(b)
			}
			if st.Nlink > 1 {
				if other, ok := first[st.Ino]; ok {
					text = "= " + other
				}
				first[st.Ino] = name
			}
		case unix.S_IFDIR:
			text += fmt.Sprint(" ", st.Mtim.Sec, ".", st.Mtim.Nsec)
		}
		for _, x := range []string{"security.capability", "trusted.note"} {
			b := make([]byte, 100)
			if n, err := unix.Lgetxattr(p, x, b); err == nil {
				text += fmt.Sprintf(" %s=%x", x, b[:n])
			}
		}
		all[name] = text
		return nil
	}))
	return all
}

func requireSame(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name := range want {
		require.Equal(t, want[name], got[name], name)
	}
	require.Len(t, got, len(want))
}

func TestPopulate(t *testing.T) {
	testenv.RequireRoot(t)
	s, image := newStore(t), newImage(t)
	ctx, root := context.Background(), namespace.Dir(image)
	v, err := s.Create("data", nil)
	require.NoError(t, err)
	require.NoError(t, s.Populate(ctx, "data", root, "/data"))
	want := listing(t, filepath.Join(image, "data"))
	delete(want, "/whiteout")
	requireSame(t, want, listing(t, v.Path))
	require.Contains(t, want["/sub/deep/big"], "security.capability")

	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(v.Path, "sparse"), &st))
	require.Less(t, st.Blocks*512, int64(1<<20), "holes stay holes")
	_, err = unix.Lgetxattr(filepath.Join(v.Path, "sub"), "trusted.overlay.opaque", nil)
	require.ErrorIs(t, err, unix.ENODATA)

	// A volume with content is left alone.
	require.NoError(t, os.Remove(filepath.Join(v.Path, "plain")))
	require.NoError(t, os.Mkdir(s.path("data", fillName), 0o700)) // a killed process's
	require.NoError(t, s.Populate(ctx, "data", root, "/data"))
	require.NoFileExists(t, filepath.Join(v.Path, "plain"))
	for _, name := range []string{fillName, fillingName} {
		require.NoDirExists(t, s.path("data", name))
	}
}

func TestPopulateNothing(t *testing.T) {
	s, image := newStore(t), newImage(t)
	ctx, root := context.Background(), namespace.Dir(image)
	v, err := s.Create("data", nil)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Dir(image), filepath.Join(image, "escape")))
	require.NoError(t, os.Symlink("../..", filepath.Join(image, "up")))
	for _, path := range []string{"/missing", "/data/plain", "/data/plain/x", "/escape", "/data/sub/outdir"} {
		require.NoError(t, s.Populate(ctx, "data", root, path), path)
		empty, err := isEmpty(v.Path)
		require.NoError(t, err)
		require.True(t, empty, path)
	}
	// ".." ends at the root: what is copied is the root's own content.
	require.NoError(t, s.Populate(ctx, "data", root, "/up/data/sub/deep"))
	require.FileExists(t, filepath.Join(v.Path, "big"))
}

func TestPopulateCanceled(t *testing.T) {
	s, image := newStore(t), newImage(t)
	v, err := s.Create("data", nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Populate(ctx, "data", namespace.Dir(image), "/data"), context.Canceled)
	empty, err := isEmpty(v.Path)
	require.NoError(t, err)
	require.True(t, empty)
	require.NoDirExists(t, s.path("data", fillName))
}

func TestPopulateDeep(t *testing.T) {
	s, image := newStore(t), t.TempDir()
	_, err := s.Create("data", nil)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(image, strings.Repeat("d/", maxDepth+2)), 0o755))
	err = s.Populate(context.Background(), "data", namespace.Dir(image), "/")
	require.ErrorContains(t, err, "nested deeper")
	require.NoDirExists(t, s.path("data", fillName))
}

// TestPopulateRace swaps a folder of the source for a link to the host's files while it is copied: nothing of theirs
// gets into the volume.
func TestPopulateRace(t *testing.T) {
	s := newStore(t)
	top := t.TempDir()
	host, image := filepath.Join(top, "host"), filepath.Join(top, "image")
	a, b := filepath.Join(image, "data/a"), filepath.Join(image, "data/b")
	require.NoError(t, os.MkdirAll(host, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(host, "secret"), nil, 0o600))
	require.NoError(t, os.MkdirAll(a, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(a, "public"), nil, 0o600))
	require.NoError(t, os.Symlink(host, b))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	for i := range 30 {
		name := fmt.Sprint("vol", i)
		v, err := s.Create(name, nil)
		require.NoError(t, err)
		require.NoError(t, s.Populate(context.Background(), name, namespace.Dir(image), "/data"))
		for n, text := range listing(t, v.Path) {
			require.NotContains(t, n+text, "secret")
		}
	}
	close(stop)
	<-done
}

// fillAgain populates the volume of the store until it is killed.
func fillAgain(args []string) int {
	s, err := Open(args[1])
	if err == nil {
		err = s.Populate(context.Background(), "data", namespace.Dir(args[2]), "/data")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func init() { programs["fill"] = fillAgain }

// TestPopulateKill kills a process while it populates; the next one ends with the whole content.
func TestPopulateKill(t *testing.T) {
	image := t.TempDir()
	for i := range 80 {
		dir := filepath.Join(image, "data", fmt.Sprint("d", i))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte(fmt.Sprint(i)), 0o600))
	}
	want := listing(t, filepath.Join(image, "data"))
	s := newStore(t)
	for range 6 {
		v, err := s.Create("data", nil)
		require.NoError(t, err)
		cmd, stderr := program(t, "fill", s.docs.Dir, image)
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(5+rand.IntN(40)) * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		require.Empty(t, stderr.String())
		require.NoError(t, s.Check(context.Background()))
		require.NoError(t, s.Populate(context.Background(), "data", namespace.Dir(image), "/data"))
		requireSame(t, want, listing(t, v.Path))
		require.NoError(t, s.Remove("data"))
	}
}

// TestPopulateResumes goes on with a copy that was half moved in, and keeps what a container made meanwhile.
func TestPopulateResumes(t *testing.T) {
	s, image := newStore(t), newImage(t)
	v, err := s.Create("data", nil)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(s.path("data", fillingName, contentName), 0o700))
	require.NoError(t, os.Mkdir(s.path("data", fillingName, rootName), 0o750))
	require.NoError(t, os.WriteFile(s.path("data", fillingName, contentName, "copied"), []byte("image"), 0o600))
	require.NoError(t, os.WriteFile(s.path("data", fillingName, contentName, "both"), []byte("image"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(v.Path, "both"), []byte("container"), 0o600))
	require.NoError(t, s.Populate(context.Background(), "data", namespace.Dir(image), "/data"))
	for name, want := range map[string]string{"copied": "image", "both": "container"} {
		b, err := os.ReadFile(filepath.Join(v.Path, name))
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
	st, err := os.Stat(v.Path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o750, st.Mode())
	require.NoDirExists(t, s.path("data", fillingName))
}
