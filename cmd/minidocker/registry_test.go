package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

// newRegistry starts a registry on the loopback address with the images that the tests run, and returns its host:
//
//	busybox:latest     a shell and its tools
//	configured:latest  the same with all that an image's configuration can say
//	broken:bytes       a layer that is not what its digest says
//	endless            a manifest without end
//	private:latest     refused without credentials
func newRegistry(t *testing.T) string {
	t.Helper()
	testenv.RequireRoot(t)
	inner := new(registry.Server)
	var broken string // path of the blobs that the server spoils
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/private/") && r.Method == http.MethodGet:
			w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
			w.WriteHeader(http.StatusUnauthorized)
		case broken != "" && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v2/broken/blobs/"+broken):
			w.Header().Set("Content-Length", "200")
			_, _ = w.Write(bytes.Repeat([]byte("wrong"), 40))
		case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v2/endless/manifests/"):
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			for i := 0; i < 1<<14 && r.Context().Err() == nil; i++ { // 64 MiB
				_, _ = w.Write(bytes.Repeat([]byte(" "), 4096))
			}
		default:
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	busybox := testimage.Busybox(t)
	path := []string{"PATH=/bin"}
	push(t, host+"/busybox:latest", testimage.New(t, ocispec.ImageConfig{Env: path, Cmd: []string{"sh"}}, busybox))
	push(t, host+"/configured:latest", testimage.New(t, ocispec.ImageConfig{
		Env: append(path, "FROM=image", "KEPT=yes"), Entrypoint: []string{"echo", "entry"}, Cmd: []string{"cmd"},
		WorkingDir: "/made/by/config", User: "app", StopSignal: "SIGUSR1", Labels: map[string]string{"from": "image"},
		Volumes: map[string]struct{}{"/data": {}},
	}, busybox, testimage.Layer{{Name: "data/"}, {Name: "data/seed", Content: []byte("seed\n"), Mode: 0o644}}))
	spoilt := testimage.New(t, ocispec.ImageConfig{Cmd: []string{"/a"}},
		testimage.Layer{{Name: "a", Content: bytes.Repeat([]byte("a"), 4096)}})
	push(t, host+"/broken:bytes", spoilt)
	broken = spoilt.Blobs[1].Descriptor.Digest.String()
	push(t, host+"/private:latest", spoilt)
	return host
}

// push puts an image into a registry.
func push(t *testing.T, name string, image *testimage.Image) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ref, err := registry.ParseReference(name)
	require.NoError(t, err)
	client := &registry.Client{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for _, b := range image.Blobs {
		_, err := client.PushBlob(ctx, ref, registry.BlobUpload{
			Descriptor: b.Descriptor, Content: bytes.NewReader(b.Content),
		})
		require.NoError(t, err)
	}
	require.NoError(t, client.PushManifest(ctx, ref, image.Manifest.Descriptor, image.Manifest.Content))
}

// newCommand makes a folder with minidocker in it and returns the command's path.
func newCommand(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "minidocker")
	require.NoError(t, os.Symlink(self, path))
	return path
}
