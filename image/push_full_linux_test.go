package image

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// TestPushFullDisk pushes to registries whose disk is nearly full, in one piece and in chunks: the error says so, nothing of the
// upload stays to keep the disk full, the registry is whole, and the push succeeds when there is space again.
func TestPushFullDisk(t *testing.T) {
	testenv.RequireRoot(t)
	s, img, f := pulled(t, testLayer{"a": noise(1, 200<<10)}, testLayer{"b": noise(2, 500<<10)})
	for name, open := range map[string]func(t *testing.T, dir string) (store registry.Store, check func(), uploads string){
		"folder": func(t *testing.T, dir string) (registry.Store, func(), string) {
			store, err := registry.OpenFolder(dir)
			require.NoError(t, err)
			return store, func() { require.NoError(t, store.Check(t.Context())) }, filepath.Join(dir, "uploads")
		},
		"images": func(t *testing.T, dir string) (registry.Store, func(), string) {
			served, err := Open(dir)
			require.NoError(t, err)
			v, err := served.Serve("here.test")
			require.NoError(t, err)
			return v, func() {
				require.NoError(t, served.Check(t.Context(), &CheckOptions{Deep: true}))
				require.Empty(t, left(t, served))
			}, served.path(uploadsName)
		},
	} {
		for _, chunk := range []int64{0, 64 << 10} {
			t.Run(fmt.Sprintf("%s, chunks of %d", name, chunk), func(t *testing.T) {
				at := testenv.NewDisk(t, 8)
				store, check, uploads := open(t, filepath.Join(at, "store"))
				server := httptest.NewServer(&registry.Server{Store: store})
				defer server.Close()
				client := &registry.Client{ChunkSize: chunk}
				defer client.CloseIdleConnections()
				to := strings.TrimPrefix(server.URL, "http://") + "/app:v1"
				for _, leave := range []int64{0, 16, 300} {
					free := fill(t, at, leave)
					_, err := Push(t.Context(), s, f.ref("app:v1"), &PushOptions{Client: client, To: to, Parallel: 1})
					free()
					check()
					require.Error(t, err, "%d KiB", leave)
					require.ErrorContains(t, err, "the registry's file system is full", "%d KiB", leave)
					var answer *registry.Error
					require.True(t, errors.As(err, &answer))
					require.Equal(t, http.StatusInsufficientStorage, answer.Status)
					under, err := os.ReadDir(uploads)
					require.NoError(t, err)
					require.Empty(t, under, "%d KiB", leave)
				}
				d, err := Push(t.Context(), s, f.ref("app:v1"), &PushOptions{Client: client, To: to})
				require.NoError(t, err, "there is space again")
				require.Equal(t, img.Digest, d)
				check()
				got, err := Pull(t.Context(), openStore(t, t.TempDir()), to, &PullOptions{Client: client})
				require.NoError(t, err)
				require.Equal(t, img.Digest, got.Digest)
			})
		}
	}
}

// TestPushFromFullDisk pushes from a store whose own disk is full: it succeeds, or says so, and leaves nothing.
func TestPushFromFullDisk(t *testing.T) {
	at := testenv.NewDisk(t, 8)
	s := openStore(t, filepath.Join(at, "store"))
	f := newFakeRegistry(t)
	f.add(t, twoLayers, "v1")
	_, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	to := newServer(t) + "/app:v1"
	for _, leave := range []int64{0, 8} {
		free := fill(t, at, leave)
		_, err = Push(t.Context(), s, f.ref("app:v1"), &PushOptions{To: to})
		free()
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
		}
		require.Empty(t, left(t, s))
	}
	_, err = Push(t.Context(), s, f.ref("app:v1"), &PushOptions{To: to})
	require.NoError(t, err)
}
