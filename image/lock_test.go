package image

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestDeletesWithoutLock: while the files of an image's layers are being deleted, others can use the store.
func TestDeletesWithoutLock(t *testing.T) {
	testenv.RequireRoot(t)
	f := newFakeRegistry(t)
	l := testLayer{}
	for i := range 1000 {
		l[fmt.Sprint(i)] = ""
	}
	f.add(t, testImage{layers: []testLayer{l}}, "v1")
	for name, remove := range map[string]func(*Store) error{
		"remove": func(s *Store) error {
			_, err := s.Remove(t.Context(), f.ref("app:v1"), nil)
			return err
		},
		"prune": func(s *Store) error {
			_, err := s.Prune(t.Context(), &PruneOptions{Unused: true})
			return err
		},
	} {
		s := openStore(t, t.TempDir())
		_, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
		require.NoError(t, err)
		deleting := func() bool {
			list, err := os.ReadDir(filepath.Join(s.layers.Dir(), "tmp"))
			return err == nil && len(list) > 0
		}
		done := make(chan error, 1)
		go func() { done <- remove(s) }()
		free, ended := false, false
		for !ended {
			select {
			case err := <-done:
				require.NoError(t, err)
				ended = true
			default:
				time.Sleep(100 * time.Microsecond)
				if free || !deleting() {
					continue
				}
				l, held, err := durable.TryAcquire(s.path("lock"), true)
				require.NoError(t, err)
				if !held {
					free = deleting()
					require.NoError(t, l.Close())
				}
			}
		}
		require.True(t, free, name)
	}
}

// TestPruneAndPut: Prune leaves a small blob alone that is being written.
func TestPruneAndPut(t *testing.T) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	var wg sync.WaitGroup
	var pruned atomic.Int32
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, err := s.Prune(t.Context(), nil)
				assert.NoError(t, err)
				pruned.Add(1)
			}
		}
	})
	for n := 0; n < 30 || pruned.Load() < 30; n++ {
		b := []byte(noise(uint64(n), 1<<10))
		_, err := s.putBlob(ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, b)
		if !assert.NoError(t, err) {
			break
		}
	}
	close(stop)
	wg.Wait()
	_, err := s.Prune(t.Context(), nil) // nothing leads to the last ones
	require.NoError(t, err)
	require.Empty(t, left(t, s))
}
