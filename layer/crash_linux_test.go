package layer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// newArchives writes some streams to files.
func newArchives(t testing.TB, n int) []string {
	t.Helper()
	var paths []string
	dir := t.TempDir()
	for i := range n {
		var entries []entry
		for j := range 300 {
			entries = append(entries, file(fmt.Sprintf("layer%d/dir%d/file%d", i, j/10, j), strings.Repeat("x",
				100*(j%50))))
		}
		paths = append(paths, filepath.Join(dir, fmt.Sprint(i, ".tar")))
		require.NoError(t, os.WriteFile(paths[i], newTar(t, entries...), 0o600))
	}
	return paths
}

func program(name string, args ...string) *exec.Cmd {
	return &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{name}, args...)}
}

// TestKill kills a process that adds and removes layers, again and again: the store is always whole, and nothing is
// left after the next Open.
func TestKill(t *testing.T) {
	testenv.RequireRoot(t)
	kill(t, 40)
}

// TestErofsKill is TestKill with layers as EROFS images.
func TestErofsKill(t *testing.T) {
	testenv.ReapOrphans(t) // mkfs.erofs
	newErofsStore(t)
	testenv.ReapOrphans(t) // mkfs.erofs, which ends with the program, is nobody's then
	kill(t, 12, EROFS.String())
}

func kill(t *testing.T, most int, args ...string) {
	dir := t.TempDir()
	args = append(append(args, dir), newArchives(t, 2)...)
	rounds := most
	if testing.Short() || testenv.VM() {
		rounds = 5
	}
	left, found := 0, 0
	// On a slow machine many are killed before they begin.
	for round := 0; round < rounds || left == 0 && rounds == most && round < 20*most; round++ {
		c := program(adder, args...)
		require.NoError(t, c.Start())
		time.Sleep(time.Duration(rand.IntN(int(300 * time.Millisecond))))
		require.NoError(t, c.Process.Kill())
		require.ErrorContains(t, c.Wait(), "killed")
		if entries, err := os.ReadDir(filepath.Join(dir, tempName)); err == nil && len(entries) > 0 {
			left++
		}
		// A program that it was about to execute may have its locks for a moment more.
		var s *Store
		require.Eventually(t, func() bool {
			var err error
			if s, err = Open(dir); err != nil {
				t.Error(err)
				return true
			}
			entries, err := os.ReadDir(filepath.Join(dir, tempName))
			return err == nil && len(entries) == 0
		}, time.Minute, 10*time.Millisecond)
		require.False(t, t.Failed())
		require.NoError(t, s.Check(t.Context()))
		layers, err := s.List()
		require.NoError(t, err)
		for _, l := range layers {
			found++
			require.NoError(t, s.Remove(t.Context(), l.DiffID))
		}
	}
	t.Logf("of %d kills %d left something to sweep, %d layers were whole", rounds, left, found)
	require.True(t, left > 0 || rounds < most)
}

// TestProcesses is several processes that add the same layers to one store.
func TestProcesses(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	archives := newArchives(t, 3)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			out, err := program(adder, append([]string{"once", s.dir}, archives...)...).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	layers, err := s.List()
	require.NoError(t, err)
	require.Len(t, layers, 3)
	requireNoTemp(t, s)
}

// TestSweep is that Open deletes what nobody works on, and that alone.
func TestSweep(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	p, err := s.Extract(t.Context(), bytes.NewReader(newTar(t, file("f", "x"))), nil)
	require.NoError(t, err)
	abandoned := filepath.Join(s.dir, tempName, "123")
	require.NoError(t, os.MkdirAll(filepath.Join(abandoned, "a/b"), 0o000))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, tempName, "file"), nil, 0o600))
	require.NoError(t, os.Symlink("/", filepath.Join(s.dir, tempName, "link")))
	other, err := Open(s.dir)
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Join(s.dir, tempName))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	layers, err := s.Commit(t.Context(), p)
	require.NoError(t, err)
	got, err := other.Get(p.DiffID)
	require.NoError(t, err)
	require.Equal(t, layers[0], got)
	again, err := s.Commit(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, layers, again)
	require.NoError(t, p.Discard())
	requireNoTemp(t, s)
}

// TestAdopt: a layer that was extracted whole by a process that was killed is in the store after the next Open, and only
// such a one is.
func TestAdopt(t *testing.T) {
	testenv.RequireRoot(t)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		whole bool
	}{
		"whole": {func(*testing.T, string) {}, true},
		"another boot": {func(t *testing.T, path string) {
			b, err := os.ReadFile(filepath.Join(path, recordName))
			require.NoError(t, err)
			b = bytes.Replace(b, []byte(kernel.BootID()), []byte("of another"), 1)
			require.NoError(t, os.WriteFile(filepath.Join(path, recordName), b, 0o600))
		}, false},
		"record cut off": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(filepath.Join(path, recordName), 30))
		}, false},
		"no record": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Join(path, recordName)))
		}, false},
		"no content": {func(t *testing.T, path string) {
			require.NoError(t, os.RemoveAll(filepath.Join(path, contentName)))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			p, err := s.Extract(t.Context(), bytes.NewReader(newTar(t, file("f", "x"))), nil)
			require.NoError(t, err)
			c.spoil(t, p.temp.path)
			_, err = Open(s.dir)
			require.NoError(t, err)
			_, err = s.Get(p.DiffID)
			require.ErrorIs(t, err, ErrNotFound, "its process lives")

			require.NoError(t, p.temp.lock.Close()) // as the end of the process does
			again, err := Open(s.dir)
			require.NoError(t, err)
			requireNoTemp(t, again)
			l, err := again.Get(p.DiffID)
			if !c.whole {
				require.ErrorIs(t, err, ErrNotFound)
				return
			}
			require.NoError(t, err)
			require.FileExists(t, filepath.Join(l.Dir, "f"))
			require.NoError(t, again.Check(t.Context()))
		})
	}
}

// TestCheck is that Check sees what was changed.
func TestCheck(t *testing.T) {
	testenv.RequireRoot(t)
	for name, spoil := range map[string]func(l Layer) error{
		"file removed":   func(l Layer) error { return os.Remove(filepath.Join(l.Dir, "d/f")) },
		"file added":     func(l Layer) error { return os.WriteFile(filepath.Join(l.Dir, "d/g"), nil, 0o644) },
		"file shorter":   func(l Layer) error { return os.Truncate(filepath.Join(l.Dir, "d/f"), 1) },
		"record removed": func(l Layer) error { return os.Remove(filepath.Join(filepath.Dir(l.Dir), recordName)) },
		"record of another": func(l Layer) error {
			return os.WriteFile(filepath.Join(filepath.Dir(l.Dir), recordName), []byte(`{"diffID":"sha256:12"}`), 0o600)
		},
		"record is none": func(l Layer) error {
			return os.WriteFile(filepath.Join(filepath.Dir(l.Dir), recordName), []byte("{"), 0o600)
		},
		"record without end": func(l Layer) error {
			return os.Truncate(filepath.Join(filepath.Dir(l.Dir), recordName), 1<<30)
		},
		"content is a link": func(l Layer) error {
			return errors.Join(os.RemoveAll(l.Dir), os.Symlink("/", l.Dir))
		},
		"stray": func(l Layer) error { return os.Mkdir(filepath.Join(l.Dir, "../../stray"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.TempDir())
			require.NoError(t, err)
			l := newLayers(t, s, []entry{file("d/f", "12345"), hardlink("d/h", "d/f")})[0]
			require.NoError(t, s.Check(t.Context()))
			require.NoError(t, spoil(l))
			require.Error(t, s.Check(t.Context()))
		})
	}
}

// TestFaults fails each step of an extraction and of its commit in turn: nothing is left.
func TestFaults(t *testing.T) {
	testenv.RequireRoot(t)
	data := newTar(t,
		folderOf("d", 0o2755), file("d/f", strings.Repeat("x", chunkSize+1)), file("d/f", "again"), symlink("l", "d"),
		file("l/g", "x"), hardlink("h", "d/f"), file("i/j", "x"), file(".wh.w", ""), file("i/.wh..wh..opq", ""),
		entry{Header: fileHeader("owned", 3, 0o4755), body: "x"},
		entry{Header: fileHeader("attribute", 0, 0o600), body: "x"},
	)
	failure := errors.New("fault")
	steps := map[string]int{}
	for k := 0; ; k++ {
		s := newStore(t)
		i, failed := 0, ""
		s.fault = func(step string) error {
			if i++; i == k+1 {
				failed = step
				return failure
			}
			return nil
		}
		_, err := s.Add(t.Context(), bytes.NewReader(data), nil)
		requireNoTemp(t, s)
		layers, listErr := s.List()
		require.NoError(t, listErr)
		if failed == "" {
			require.NoError(t, err)
			require.Len(t, layers, 1)
			break
		}
		steps[failed]++
		require.ErrorIs(t, err, failure, failed)
		if failed == "sync folder" {
			require.Len(t, layers, 1) // it is in its place, only not for sure after a loss of power
		} else {
			require.Empty(t, layers, failed)
		}
	}
	t.Log(steps)
	for _, step := range []string{"mkdir", "create file", "write", "chown", "chmod", "setxattr", "utimes",
		"symlink", "link",
		"mknod", "remove", "write implied", "write record", "syncfs", "rename", "sync folder"} {
		require.NotZero(t, steps[step], step)
	}
}

// TestDiskFull is a file system that is full, of bytes or of inodes.
func TestDiskFull(t *testing.T) {
	testenv.RequireRoot(t)
	for name, c := range map[string]struct {
		options string
		entries []entry
	}{
		"bytes": {"size=1m", []entry{file("f", strings.Repeat("x", 2<<20))}},
		"inodes": {"nr_inodes=20", func() (all []entry) {
			for i := range 30 {
				all = append(all, file(fmt.Sprint("f", i), ""))
			}
			return all
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, c.options))
			t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
			s, err := Open(filepath.Join(dir, "store"))
			require.NoError(t, err)
			_, err = s.Add(t.Context(), bytes.NewReader(newTar(t, c.entries...)), nil)
			require.ErrorIs(t, err, unix.ENOSPC)
			require.ErrorContains(t, err, "the file system of the layer store is full")
			requireNoTemp(t, s)
			_, err = s.Add(t.Context(), bytes.NewReader(newTar(t, file("f", "small"))), nil)
			require.NoError(t, err)
		})
	}
}
