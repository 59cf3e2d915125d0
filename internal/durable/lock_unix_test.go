//go:build unix

package durable

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Acquire(t.Context(), path, true)
	require.NoError(t, err)
	_, held, err := TryAcquire(path, true)
	require.NoError(t, err)
	require.True(t, held)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = Acquire(ctx, path, true)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, l.Close())
	l, held, err = TryAcquire(path, false)
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, l.Remove())
	require.NoFileExists(t, path)
}

// TestLockRemoved: however often holders remove the file, there is one holder at a time.
func TestLockRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, rounds atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				l, err := Acquire(t.Context(), path, true)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				rounds.Add(1)
				holders.Add(-1)
				if err := l.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(400), rounds.Load())
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestLockIsFair: who gives the lock back and takes it again at once does not keep others out.
func TestLockIsFair(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx, stop := context.WithCancel(t.Context())
	var greedy sync.WaitGroup
	for range 3 {
		greedy.Go(func() {
			for ctx.Err() == nil {
				l, err := Acquire(t.Context(), path, true)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(2 * time.Millisecond)
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	var waited time.Duration
	for range 10 {
		begun := time.Now()
		l, err := Acquire(t.Context(), path, true)
		require.NoError(t, err)
		waited = max(waited, time.Since(begun))
		require.NoError(t, l.Close())
	}
	stop()
	greedy.Wait()
	t.Log("the longest wait:", waited)
	require.Less(t, waited, 30*time.Second)
}

// TestLockQueues: a reader that comes when a writer waits does not get in before it.
func TestLockQueues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	reader, err := Acquire(t.Context(), path, false)
	require.NoError(t, err)
	order := make(chan string, 2)
	var both sync.WaitGroup
	wait := func(name string, exclusive bool) {
		both.Go(func() {
			l, err := Acquire(t.Context(), path, exclusive)
			if err != nil {
				t.Error(err)
				return
			}
			order <- name
			time.Sleep(20 * time.Millisecond)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(50 * time.Millisecond)
	}
	wait("writer", true)
	wait("reader", false)
	require.NoError(t, reader.Close())
	both.Wait()
	require.Equal(t, "writer", <-order)
	require.Equal(t, "reader", <-order)
}

// TestLockDir: the lock of a folder excludes others, also under the folder's new name and while it is being deleted.
func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.Mkdir(a, 0o700))
	l, held, err := TryAcquireDir(a)
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, os.Rename(a, b))
	_, held, err = TryAcquireDir(b)
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, os.RemoveAll(b))
	_, _, err = TryAcquireDir(b)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, l.Close())
	require.NoError(t, os.WriteFile(a, nil, 0o600))
	_, _, err = TryAcquireDir(a)
	require.Error(t, err, "no folder")
}
