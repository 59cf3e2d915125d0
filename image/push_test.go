package image

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// newServer starts the module's own registry and returns its host.
func newServer(t testing.TB) string {
	s := httptest.NewServer(&registry.Server{})
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestPushPull(t *testing.T) {
	s, img, f := pulled(t, twoLayers.layers...)
	host := newServer(t)
	_, err := Push(t.Context(), s, f.ref("app:v1"), &PushOptions{To: host + "/app:1"})
	require.NoError(t, err)
	s.mustTag(t, f.ref("app:v1"), host+"/app:1")
	var e events
	d, err := Push(t.Context(), s, host+"/app:1", &PushOptions{Progress: e.add})
	require.NoError(t, err)
	require.Equal(t, img.Digest, d)
	require.Equal(t, 3, e.count(LayerExists))
	e = events{}
	_, err = Push(t.Context(), s, host+"/app:1", &PushOptions{To: host + "/team/other:1", Progress: e.add})
	require.NoError(t, err)
	require.Equal(t, 3, e.count(Mounted))

	other := openStore(t, t.TempDir())
	for _, ref := range []string{"/app:1", "/team/other:1", "/app@" + img.Digest.String()} {
		got, err := Pull(t.Context(), other, host+ref, nil)
		require.NoError(t, err)
		require.Equal(t, img.Digest, got.Digest)
		require.Equal(t, img.ID, got.ID)
		require.Equal(t, "two", content(t, got, 1, "etc/issue"))
	}
	_, err = Push(t.Context(), s, img.ID.Encoded()[:12], nil)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Push(t.Context(), s, "none", nil)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestPushIndex(t *testing.T) {
	testenv.RequireRoot(t)
	f, s, host := newFakeRegistry(t), openStore(t, t.TempDir()), newServer(t)
	arm := f.add(t, testImage{
		platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}, layers: []testLayer{{"a": "arm64"}},
	})
	amd := f.add(t, testImage{layers: twoLayers.layers})
	index := f.addIndex(t, "v1", arm, amd)
	_, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Platform: "linux/amd64"})
	require.NoError(t, err)
	d, err := Push(t.Context(), s, f.ref("app:v1"), &PushOptions{To: host + "/app:part"})
	require.NoError(t, err)
	require.Equal(t, amd.Digest, d, "the one platform that is there")
	_, err = Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Platform: "linux/arm64"})
	require.NoError(t, err)
	d, err = Push(t.Context(), s, f.ref("app:v1"), &PushOptions{To: host + "/app:all"})
	require.NoError(t, err)
	require.Equal(t, index.Digest, d)
	d, err = Push(t.Context(), s, f.ref("app:v1"), &PushOptions{To: host + "/app:arm", Platform: "linux/arm64"})
	require.NoError(t, err)
	require.Equal(t, arm.Digest, d, "the one that was asked for")
	for platform, want := range map[string]digest.Digest{"linux/amd64": amd.Digest, "linux/arm64": arm.Digest} {
		img, err := Pull(t.Context(), openStore(t, t.TempDir()), host+"/app:all", &PullOptions{Platform: platform})
		require.NoError(t, err)
		require.Equal(t, index.Digest, img.Digest)
		require.Equal(t, want, img.Manifest)
	}
}

func TestImport(t *testing.T) {
	s, img, f := pulled(t, twoLayers.layers...)
	s.mustTag(t, f.ref("app:v1"), "alpine")
	other := openStore(t, t.TempDir())
	names, err := other.Import(t.Context(), os.DirFS(s.Dir()))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{f.ref("app:v1"), "docker.io/library/alpine:latest"}, names)
	got, err := other.Get(t.Context(), "alpine", nil)
	require.NoError(t, err)
	require.Equal(t, img.ID, got.ID)
	require.Equal(t, "one", content(t, got, 0, "etc/motd"))
	_, err = other.Import(t.Context(), os.DirFS(s.Dir()))
	require.NoError(t, err, "once more changes nothing")
	require.Empty(t, left(t, other))
}

func TestImportRefuses(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string, i *Image){
		"layer changed": func(t *testing.T, dir string, i *Image) {
			flip(t, filepath.Join(dir, blobName(i.blobs[0].Digest)))
		},
		"manifest changed": func(t *testing.T, dir string, i *Image) { flip(t, filepath.Join(dir, blobName(i.Manifest))) },
		"layer longer": func(t *testing.T, dir string, i *Image) {
			f := filepath.Join(dir, blobName(i.blobs[0].Digest))
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			require.NoError(t, writeFile(f, append(b, 0)))
		},
		"layer missing": func(t *testing.T, dir string, i *Image) {
			require.NoError(t, os.Remove(filepath.Join(dir, blobName(i.blobs[0].Digest))))
		},
		"no index": func(t *testing.T, dir string, _ *Image) {
			require.NoError(t, os.Remove(filepath.Join(dir, "index.json")))
		},
		"digest that is a path": func(t *testing.T, dir string, _ *Image) {
			require.NoError(t, writeFile(filepath.Join(dir, "index.json"),
				[]byte(`{"manifests":[{"digest":"sha256:../../x","size":1}]}`)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.RequireRoot(t)
			f := newFakeRegistry(t)
			f.add(t, twoLayers, "v1")
			s, err := Open(t.TempDir())
			require.NoError(t, err)
			img, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
			require.NoError(t, err)
			harm(t, s.Dir(), img)
			other := openStore(t, t.TempDir())
			_, err = other.Import(t.Context(), os.DirFS(s.Dir()))
			require.Error(t, err)
			t.Log(err)
			list, err := other.List(t.Context())
			require.NoError(t, err)
			require.Empty(t, list)
			_, err = other.Prune(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, left(t, other))
		})
	}
}
