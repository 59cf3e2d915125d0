package namespace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// newRoot makes a root folder beside a folder that stands for the rest of the host.
func newRoot(t *testing.T) (dir, outside string) {
	top := t.TempDir()
	dir, outside = filepath.Join(top, "root"), filepath.Join(top, "outside")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	require.NoError(t, os.MkdirAll(outside, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "passwd"), []byte("host:x:0:0::/:\n"), 0o600))
	return dir, outside
}

func TestReadFile(t *testing.T) {
	dir, outside := newRoot(t)
	r := Dir(dir)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	link := func(target, name string) { require.NoError(t, os.Symlink(target, filepath.Join(dir, name))) }
	write("etc/passwd", "inside")
	link("/etc/passwd", "absolute")
	link("../../../../etc/passwd", "etc/up")
	link(outside+"/passwd", "etc/out")
	link("../outside/passwd", "sibling")
	link("loop", "loop")
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))

	for _, name := range []string{"/etc/passwd", "etc/passwd", "absolute", "/etc/up", "../../etc/passwd"} {
		b, err := r.ReadFile(name, 0)
		require.NoError(t, err, name)
		require.Equal(t, "inside", string(b), name)
	}
	for _, name := range []string{"etc/out", "sibling", "missing", "../outside/passwd"} {
		_, err := r.ReadFile(name, 0)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
	_, err := r.ReadFile("loop", 0)
	require.ErrorIs(t, err, syscall.ELOOP)
	for _, name := range []string{"fifo", "etc", "/", ""} {
		_, err := r.ReadFile(name, 0)
		require.Error(t, err, name)
	}
	_, err = r.ReadFile("etc/passwd", 5)
	require.EqualError(t, err, "read etc/passwd in "+dir+": larger than 5 bytes")
	_, err = r.ReadFile("etc/passwd", 6)
	require.NoError(t, err)
	_, err = Dir(dir+"/none").ReadFile("x", 0)
	require.ErrorIs(t, err, fs.ErrNotExist)

	// A link of /proc leads to the host's root when it is followed as the kernel does.
	_, err = Dir("/").ReadFile("/proc/self/root/etc/passwd", 0)
	require.ErrorIs(t, err, syscall.ELOOP)
}

func TestReadFileDevice(t *testing.T) {
	testenv.RequireRoot(t)
	dir, _ := newRoot(t)
	name := filepath.Join(dir, "etc/passwd")
	require.NoError(t, unix.Mknod(name, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5)))) // /dev/zero
	_, err := Dir(dir).ReadFile("etc/passwd", 0)
	require.ErrorContains(t, err, "not a regular file")
	_, err = Dir(dir).LookupUser("root")
	require.ErrorContains(t, err, "not a regular file")
}

func TestRootClosed(t *testing.T) {
	r := Dir(t.TempDir())
	require.NoError(t, r.Close())
	_, err := r.ReadFile("x", 0)
	require.ErrorIs(t, err, ErrRootUsed)
	require.ErrorIs(t, r.MkdirAll("x", 0o755), ErrRootUsed)
	require.ErrorIs(t, r.Touch("x"), ErrRootUsed)
}

func TestDetachedRoot(t *testing.T) {
	testenv.RequireRoot(t)
	dir, _ := newRoot(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("u:x:3:4::/u:\n"), 0o644))
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	require.NoError(t, err)
	r := Detached(os.NewFile(uintptr(fd), dir), "image", nil)
	u, err := r.LookupUser("u")
	require.NoError(t, err)
	require.Equal(t, User{"u", 3, 4, []uint32{4}, "/u"}, *u)
	require.NoError(t, r.MkdirAll("/a/../b", 0o755))
	require.DirExists(t, filepath.Join(dir, "b"))
	require.NoError(t, r.Close())
}

func TestMkdirAll(t *testing.T) {
	dir, outside := newRoot(t)
	r := Dir(dir)
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	require.NoError(t, r.MkdirAll("/var/lib/data", 0o751))
	for _, name := range []string{"var", "var/lib", "var/lib/data"} {
		st, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o751, st.Mode(), name)
	}
	require.NoError(t, r.MkdirAll("/var/lib", 0o700), "what is there stays")
	st, err := os.Stat(filepath.Join(dir, "var/lib"))
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o751, st.Mode())

	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "abs")))
	require.NoError(t, os.Symlink("../../../outside", filepath.Join(dir, "etc/rel")))
	require.NoError(t, r.MkdirAll("abs/x", 0o755))
	require.NoError(t, r.MkdirAll("etc/rel/y", 0o755))
	require.DirExists(t, filepath.Join(dir, outside, "x"))
	require.DirExists(t, filepath.Join(dir, "outside/y"))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	require.ErrorIs(t, r.MkdirAll("file/x", 0o755), syscall.ENOTDIR)
	require.NoError(t, os.Symlink("loop2", filepath.Join(dir, "loop1")))
	require.NoError(t, os.Symlink("loop1", filepath.Join(dir, "loop2")))
	require.ErrorIs(t, r.MkdirAll("loop1/x", 0o755), syscall.ELOOP)
	require.ErrorIs(t, r.MkdirAll("a\x00b", 0o755), syscall.EINVAL)
	require.Error(t, r.MkdirAll(strings.Repeat("n", 256), 0o755))
	require.NoError(t, r.MkdirAll("", 0o755))
	require.NoError(t, r.MkdirAll("/../..", 0o755))
}

func TestTouch(t *testing.T) {
	dir, outside := newRoot(t)
	r := Dir(dir)
	require.NoError(t, r.Touch("/new/deep/file"))
	st, err := os.Stat(filepath.Join(dir, "new/deep/file"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), st.Mode())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "new/deep/file"), []byte("kept"), 0o644))
	require.NoError(t, r.Touch("/new/deep/file"))
	b, err := r.ReadFile("/new/deep/file", 0)
	require.NoError(t, err)
	require.Equal(t, "kept", string(b))

	// A link whose target is missing, as images have for /etc/resolv.conf.
	require.NoError(t, os.Symlink("../run/stub.conf", filepath.Join(dir, "etc/resolv.conf")))
	require.NoError(t, r.Touch("/etc/resolv.conf"))
	require.FileExists(t, filepath.Join(dir, "run/stub.conf"))
	require.NoError(t, os.Symlink(outside+"/evil", filepath.Join(dir, "etc/out")))
	require.NoError(t, r.Touch("/etc/out"))
	require.NoFileExists(t, filepath.Join(outside, "evil"))
	require.FileExists(t, filepath.Join(dir, outside, "evil"))

	require.NoError(t, os.Symlink("self", filepath.Join(dir, "self")))
	require.ErrorIs(t, r.Touch("self"), syscall.ELOOP)
	for _, name := range []string{"etc", "etc/", "/", "", "etc/.."} {
		require.ErrorIs(t, r.Touch(name), syscall.EISDIR, name)
	}
}

// TestMkdirAllRace swaps a folder for a link that leads out while folders are made below it (CVE-2021-30465,
// CVE-2024-45310): nothing appears outside.
func TestMkdirAllRace(t *testing.T) {
	dir, outside := newRoot(t)
	r := Dir(dir)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.Mkdir(a, 0o755))
	require.NoError(t, os.Symlink(outside, b))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		if err := r.MkdirAll("a/x/y", 0o755); err != nil && !errors.Is(err, unix.ENOENT) {
			require.NoError(t, err)
		}
		_ = r.Touch("a/f")
		_, err := r.ReadFile("a/passwd", 0)
		require.Error(t, err)
		for _, p := range []string{a, b, filepath.Join(dir, outside)} {
			if st, err := os.Lstat(p); err == nil && st.IsDir() {
				_ = os.RemoveAll(filepath.Join(p, "x"))
			}
		}
	}
	close(stop)
	wg.Wait()
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestLookupUserFiles(t *testing.T) {
	dir, outside := newRoot(t)
	r := Dir(dir)

	u, err := r.LookupUser("12:34")
	require.NoError(t, err, "numbers need no files")
	require.Equal(t, User{"", 12, 34, []uint32{34}, "/"}, *u)
	u, err = r.LookupUser("")
	require.NoError(t, err)
	require.Equal(t, User{"", 0, 0, []uint32{0}, "/"}, *u)
	_, err = r.LookupUser("app")
	require.ErrorIs(t, err, ErrNoUser)
	_, err = Dir(dir + "/none").LookupUser("1")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotErrorIs(t, err, ErrNoUser)

	require.NoError(t, os.Symlink(outside+"/passwd", filepath.Join(dir, "etc/passwd")))
	_, err = r.LookupUser("host")
	require.ErrorIs(t, err, ErrNoUser)
	require.NoError(t, os.Remove(filepath.Join(dir, "etc/passwd")))

	// Bytes that are no text, and then an entry.
	junk := make([]byte, 1<<20)
	for i := range junk {
		junk[i] = byte(i * 7)
	}
	junk = append(junk, "\nlast:x:8:9::/last:\n"...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), junk, 0o644))
	u, err = r.LookupUser("last")
	require.NoError(t, err)
	require.Equal(t, uint32(8), u.UID)

	require.NoError(t, os.Truncate(filepath.Join(dir, "etc/passwd"), maxUserFile+1))
	_, err = r.LookupUser("last")
	require.ErrorContains(t, err, "larger than")
}
