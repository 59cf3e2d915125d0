package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
)

// loadSeeds are archives of both kinds, right and wrong.
func loadSeeds(t testing.TB) [][]byte {
	content := testLayer{"a": "1"}.tar(t)
	name, config := oldConfig(t, content)
	manifest, err := json.Marshal([]dockerManifest{{name, []string{"x:1"}, []string{"l/layer.tar"}}})
	require.NoError(t, err)
	old := []archived{{name: name, body: config}, {name: "m.tar", body: string(content)}, {name: "l", typ: tar.TypeDir},
		{name: "l/layer.tar", target: "../m.tar", typ: tar.TypeSymlink}, {name: "manifest.json", body: string(manifest)}}
	blob := func(s string) archived { return archived{name: blobName(digest.FromString(s)), body: s} }
	describe := func(mediaType, s string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(s), Size: int64(len(s))}
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, config),
		Layers: []ocispec.Descriptor{describe(ocispec.MediaTypeImageLayer, string(content))}}
	m.SchemaVersion = 2
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{describe(m.MediaType, text(m))}}
	x.SchemaVersion = 2
	x.Manifests[0].Annotations = map[string]string{ocispec.AnnotationRefName: "x:1"}
	oci := []archived{blob(config), blob(string(content)), blob(text(m)), {name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`},
		{name: "index.json", body: text(x)}}
	return [][]byte{newArchive(t, old...), newArchive(t, old[1:]...), newArchive(t, oci...), newArchive(t, oci[:4]...),
		compress(t, "", newArchive(t, oci...)), newArchive(t, append(old[:4:4], archived{name: "manifest.json", body: `[{"Config":"../x"}]`})...), nil}
}

// FuzzLoad is that no bytes make Load panic or write outside the store, leave something when it fails, or a store that Check
// does not take when it succeeds.
func FuzzLoad(f *testing.F) {
	testenv.RequireRoot(f)
	loads := 0
	dir := f.TempDir()
	require.NoError(f, os.WriteFile(filepath.Join(dir, "outside"), []byte("untouched"), 0o600))
	s, err := Open(filepath.Join(dir, "store"))
	require.NoError(f, err)
	o := &LoadOptions{MaxSize: 1 << 20, Limits: &layer.ExtractOptions{MaxSize: 1 << 20, MaxNames: 1000, MaxWindow: 1 << 20}}
	for n, data := range loadSeeds(f) {
		f.Add(data)
		if list, err := s.Load(f.Context(), bytes.NewReader(data), o); err == nil {
			loads++
			require.Equal(f, "docker.io/library/x:1", list[0].Name, n)
		}
	}
	require.Equal(f, 3, loads, "of the seeds those that are right are taken")
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := s.Load(t.Context(), bytes.NewReader(data), o)
		require.NoError(t, s.Check(t.Context(), &CheckOptions{Deep: true}))
		requireEmpty(t, s, "tmp", "leases")
		if err == nil {
			require.NotEmpty(t, list)
		}
		_, err = s.Prune(t.Context(), &PruneOptions{Unused: true})
		require.NoError(t, err)
		requireEmpty(t, s, "blobs/sha256")
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 2)
		b, err := os.ReadFile(filepath.Join(dir, "outside"))
		require.NoError(t, err)
		require.Equal(t, "untouched", string(b))
	})
}
