package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newStore(t *testing.T) *Store {
	s, err := Open(filepath.Join(t.TempDir(), "volumes"))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Check(context.Background()))
		left, err := os.ReadDir(s.path(tmpName))
		require.NoError(t, err)
		require.Empty(t, left)
	})
	return s
}

func TestCreateGetRemove(t *testing.T) {
	s := newStore(t)
	v, err := s.Create("data", &CreateOptions{Labels: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.Equal(t, s.path("data", "data"), v.Path)
	st, err := os.Stat(v.Path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o755, st.Mode())

	_, err = s.Create("data", nil)
	require.ErrorIs(t, err, ErrExists)
	require.ErrorIs(t, err, fs.ErrExist)
	require.EqualError(t, err, "create volume data: volume exists already")

	got, err := s.Get("data")
	require.NoError(t, err)
	require.Equal(t, v, got)

	anonymous, err := s.Create("", nil)
	require.NoError(t, err)
	require.Len(t, anonymous.Name, 64)
	require.True(t, anonymous.Anonymous)
	named, err := s.Create("told", &CreateOptions{Anonymous: true})
	require.NoError(t, err)
	require.True(t, named.Anonymous)
	require.NoError(t, s.Remove("told"))

	require.NoError(t, os.WriteFile(filepath.Join(v.Path, "file"), []byte("x"), 0o600))
	again, err := Open(s.docs.Dir)
	require.NoError(t, err)
	all, err := again.List()
	require.NoError(t, err)
	require.Len(t, all, 2)
	b, err := os.ReadFile(filepath.Join(v.Path, "file"))
	require.NoError(t, err)
	require.Equal(t, "x", string(b), "data outlives the store that made it")

	require.NoError(t, s.Remove("data"))
	for _, err := range []error{s.Remove("data"), func() error { _, err := s.Get("data"); return err }(),
		func() error { _, err := s.Acquire("data"); return err }(),
		s.Populate(context.Background(), "data", nil, "/")} {
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoDirExists(t, v.Path)
}

func TestBadInput(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"..", "../x", ".tmp", "x", "a/b"} {
		_, err := s.Create(name, nil)
		require.ErrorIs(t, err, ErrName)
		_, err = s.Get(name)
		require.ErrorIs(t, err, ErrName)
		_, err = s.Acquire(name)
		require.ErrorIs(t, err, ErrName)
		require.ErrorIs(t, s.Remove(name), ErrName)
		require.ErrorIs(t, s.Populate(context.Background(), name, nil, "/"), ErrName)
	}
	_, err := s.Create("labels", &CreateOptions{Labels: map[string]string{"k": strings.Repeat("v", maxLabels)}})
	require.ErrorContains(t, err, "above the limit")
	_, err = Open("/dev/null/x")
	require.Error(t, err)
}

func TestDamage(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"good", "json", "other", "nodata", "huge", "nometa"} {
		_, err := s.Create(name, nil)
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(s.path("json", metaName), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(s.path("other", metaName), []byte(`{"name":"good"}`), 0o600))
	require.NoError(t, os.Truncate(s.path("huge", metaName), maxMeta+1))
	require.NoError(t, os.Remove(s.path("nometa", metaName)))
	require.NoError(t, os.Remove(s.path("nodata", dataName)))
	err := s.Check(context.Background())
	for _, name := range []string{"json", "other", "nodata", "huge", "nometa"} {
		require.ErrorContains(t, err, "volume "+name+": ")
	}
	require.NotContains(t, err.Error(), "volume good: ")
	all, err := s.List()
	require.Error(t, err)
	require.Len(t, all, 2)
	pruned, err := s.Prune(context.Background(), &PruneOptions{All: true})
	require.NoError(t, err)
	require.Len(t, pruned, 2, "what cannot be read is not pruned")
	for _, name := range []string{"json", "other", "huge", "nometa"} {
		require.NoError(t, s.Remove(name), "but can be removed")
	}
}

func TestInUse(t *testing.T) {
	s := newStore(t)
	_, err := s.Create("data", nil)
	require.NoError(t, err)
	a, err := s.Acquire("data")
	require.NoError(t, err)
	b, err := s.Acquire("data")
	require.NoError(t, err)
	other, err := Open(s.docs.Dir)
	require.NoError(t, err)
	require.ErrorIs(t, other.Remove("data"), ErrInUse)
	require.NoError(t, a.Close())
	require.ErrorIs(t, other.Remove("data"), ErrInUse)
	pruned, err := other.Prune(context.Background(), &PruneOptions{All: true})
	require.NoError(t, err)
	require.Empty(t, pruned)
	require.NoError(t, b.Close())
	require.NoError(t, other.Remove("data"))
}

func TestPrune(t *testing.T) {
	s := newStore(t)
	anonymous, err := s.Create("", nil)
	require.NoError(t, err)
	for _, name := range []string{"one", "two"} {
		_, err := s.Create(name, nil)
		require.NoError(t, err)
	}
	pruned, err := s.Prune(context.Background(), nil)
	require.NoError(t, err)
	require.Equal(t, []Volume{anonymous}, pruned)
	pruned, err = s.Prune(context.Background(), &PruneOptions{All: true, Keep: func(v Volume) bool { return v.Name == "one" }})
	require.NoError(t, err)
	require.Len(t, pruned, 1)
	require.Equal(t, "two", pruned[0].Name)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Prune(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCreateRace(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			_, err := s.Create("one", nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, won)
}

// churn creates, uses, fills and removes volumes until it is killed.
func churn(args []string) int {
	for i := 0; ; i++ {
		s, err := Open(args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		name := fmt.Sprint("vol", i%3)
		_, err = s.Create(name, nil)
		if err != nil && !errors.Is(err, ErrExists) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if use, err := s.Acquire(name); err == nil {
			for j := range 20 {
				_ = os.WriteFile(filepath.Join(use.Volume.Path, fmt.Sprint(j)), []byte("content"), 0o600)
			}
			if _, err := os.Stat(use.Volume.Path); err != nil {
				fmt.Fprintln(os.Stderr, "a volume in use is gone:", err)
				return 1
			}
			_ = use.Close()
		} else if !errors.Is(err, ErrNotFound) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		err = s.Remove(name)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInUse) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

func init() { programs["churn"] = churn }

func program(t *testing.T, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	path := filepath.Join(t.TempDir(), name)
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, path))
	cmd := exec.Command(path, args...)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stderr
}

// TestKill kills two processes at work on one store, again and again; the store is whole each time.
func TestKill(t *testing.T) {
	s := newStore(t)
	for range 10 {
		var cmds []*exec.Cmd
		var errs []*bytes.Buffer
		for range 2 {
			cmd, stderr := program(t, "churn", s.docs.Dir)
			require.NoError(t, cmd.Start())
			cmds, errs = append(cmds, cmd), append(errs, stderr)
		}
		time.Sleep(time.Duration(20+rand.IntN(60)) * time.Millisecond)
		for i, cmd := range cmds {
			require.NoError(t, cmd.Process.Kill())
			require.ErrorContains(t, cmd.Wait(), "killed", errs[i].String())
		}
		again, err := Open(s.docs.Dir)
		require.NoError(t, err)
		require.NoError(t, again.Check(context.Background()))
		left, err := os.ReadDir(s.path(tmpName))
		require.NoError(t, err)
		require.Empty(t, left)
		all, err := again.List()
		require.NoError(t, err)
		for _, v := range all {
			use, err := again.Acquire(v.Name)
			require.NoError(t, err, "a killed process holds no use")
			require.NoError(t, use.Close())
		}
	}
}
