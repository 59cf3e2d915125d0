package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// fill makes many files, which take a while to delete.
func fill(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for i := range 1000 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600))
	}
}

// lockedWhileDeleting removes something, and says whether the lock could never be had while files were in the folder.
func lockedWhileDeleting(t *testing.T, lock, folder string, remove func() error) bool {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- remove() }()
	free := false
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			return !free
		default:
		}
		time.Sleep(100 * time.Microsecond)
		if list, err := os.ReadDir(folder); free || err != nil || len(list) == 0 {
			continue
		}
		l, held, err := durable.TryAcquire(lock, true)
		require.NoError(t, err)
		if held {
			continue
		}
		list, err := os.ReadDir(folder)
		require.NoError(t, err)
		free = len(list) > 0
		require.NoError(t, l.Close())
	}
}

// TestDeletesWithoutLock: others can make and remove containers while the files of one are being deleted.
func TestDeletesWithoutLock(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	c, err := e.Create(t.Context(), &Config{Image: "hello-world", Mounts: []Mount{{Type: "volume", Source: "vol", Target: "/v"}}})
	require.NoError(t, err)
	v, err := e.Volumes().Get("vol")
	require.NoError(t, err)
	fill(t, e.path(c.ID, "upper"))
	fill(t, v.Path)
	require.False(t, lockedWhileDeleting(t, e.lockPath(), filepath.Join(e.dir, "tmp"), func() error {
		return e.Remove(t.Context(), c.ID, nil)
	}))

	require.False(t, lockedWhileDeleting(t, e.lockPath(), filepath.Join(e.dir, "volumes", ".tmp"), func() error {
		return e.RemoveVolume(t.Context(), "vol")
	}))
}

// TestRemoveEnds: a context that ends bounds the deletion of files, and another engine leaves them to the one that is at it.
func TestRemoveEnds(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	c, err := e.Create(t.Context(), &Config{Image: "hello-world", Name: "one"})
	require.NoError(t, err)
	left, err := e.unlink(t.Context(), c, true)
	require.NoError(t, err)
	gone := filepath.Join(e.dir, "tmp", c.ID)
	require.DirExists(t, gone)

	other, err := Open(t.Context(), e.dir, nil)
	require.NoError(t, err)
	_, err = other.Inspect(t.Context(), "one")
	require.Error(t, err)
	c, err = other.Create(t.Context(), &Config{Image: "hello-world", Name: "one"})
	require.NoError(t, err)
	require.NoError(t, other.Remove(t.Context(), c.ID, nil))
	require.NoError(t, other.Close())
	require.DirExists(t, gone, "it is another's to delete")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.delete(ctx, left); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, e.Close())
	require.NoDirExists(t, gone)
}

// TestOpenDoesNotWait: neither Open nor the removal of an image waits for who makes or removes a container.
func TestOpenDoesNotWait(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	l, err := e.lock(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	other, err := Open(ctx, e.dir, nil)
	require.NoError(t, err)
	_, err = other.RemoveImage(ctx, "hello-world", nil)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, l.Close())
}

// TestOpenEnds: a context that has ended, ends Open.
func TestOpenEnds(t *testing.T) {
	testenv.RequireRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, t.TempDir(), nil)
	require.ErrorIs(t, err, context.Canceled)
}

// TestImageOfContainerInTheMaking: an image cannot be removed while a container of it is being made, which nobody sees yet.
func TestImageOfContainerInTheMaking(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	l, err := e.lock(t.Context()) // the making waits for it
	require.NoError(t, err)
	made := make(chan error, 1)
	go func() {
		_, err := e.Create(t.Context(), &Config{Image: "hello-world"})
		made <- err
	}()
	require.Eventually(t, func() bool {
		list, err := os.ReadDir(filepath.Join(e.dir, "images", "leases"))
		return err == nil && len(list) > 0
	}, time.Minute, time.Millisecond)
	_, err = e.RemoveImage(t.Context(), "hello-world", nil)
	require.ErrorIs(t, err, os.ErrExist)
	require.NoError(t, l.Close())
	require.NoError(t, <-made)
	_, err = e.RemoveImage(t.Context(), "hello-world", nil)
	require.ErrorIs(t, err, os.ErrExist)
}

// TestClaimOfAnother: the removal of a container does not take the name of another one.
func TestClaimOfAnother(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	first, err := e.Create(t.Context(), &Config{Image: "hello-world", Name: "name"})
	require.NoError(t, err)
	require.NoError(t, os.Remove(e.claimPath("name"))) // as a loss of power may
	second, err := e.Create(t.Context(), &Config{Image: "hello-world", Name: "name"})
	require.NoError(t, err)
	require.NoError(t, e.Remove(t.Context(), first.ID, nil))
	c, err := e.Inspect(t.Context(), "name")
	require.NoError(t, err)
	require.Equal(t, second.ID, c.ID)
}

// TestRemoveRereads: what another process did with a container between the look at it and the lock counts.
func TestRemoveRereads(t *testing.T) {
	e := newEngine(t)
	name := pullBusybox(t, e)
	for _, force := range []bool{false, true} {
		c, err := e.Create(t.Context(), &Config{Image: name, Command: []string{"sleep", "1000"}})
		require.NoError(t, err)
		// Another one has locked it to start it, and takes its time.
		l, err := durable.Acquire(t.Context(), e.path(c.ID, "lock"), true)
		require.NoError(t, err)
		removed := make(chan error, 1)
		go func() { removed <- e.Remove(t.Context(), c.ID, &RemoveOptions{Force: force}) }()
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, l.Close())
		run, err := e.Start(t.Context(), c.ID, nil)
		if err != nil { // the removal was faster, or killed it before it was started
			require.True(t, force || errors.Is(err, os.ErrNotExist), "%v", err)
			require.NoError(t, <-removed)
			_, err = e.Inspect(t.Context(), c.ID)
			require.ErrorIs(t, err, os.ErrNotExist)
			continue
		}
		if force {
			require.Equal(t, 137, ExitCode(run.Wait(t.Context())))
			require.NoError(t, <-removed)
			continue
		}
		require.ErrorIs(t, <-removed, os.ErrExist)
		require.NoError(t, run.Process().Kill())
		_ = run.Wait(t.Context())
		require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	}
}
