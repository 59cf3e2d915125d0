package image

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestSearchAllPlatforms: of a multi-platform image each platform that is there is returned, with its manifest and the size of its blobs.
func TestSearchAllPlatforms(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	arm := f.add(t, testImage{platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}, layers: []testLayer{{"a": "arm64"}}})
	amd := f.add(t, testImage{layers: twoLayers.layers})
	index := f.addIndex(t, "v1", arm, amd)
	pull := func(platform string) *Image {
		img, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Platform: platform})
		require.NoError(t, err)
		return img
	}
	pull("linux/amd64")
	search := func(all bool) map[string]*Summary {
		list, err := s.Search(t.Context(), &Filter{AllPlatforms: all})
		require.NoError(t, err)
		by := make(map[string]*Summary)
		for _, i := range list {
			by[i.Platform()] = i
		}
		return by
	}
	require.Len(t, search(true), 1, "the other one was not pulled")
	img := pull("linux/arm64")
	require.Len(t, search(false), 1)
	all := search(true)
	require.Len(t, all, 2)
	for platform, want := range map[string]ocispec.Descriptor{"linux/amd64": amd, "linux/arm64": arm} {
		i := all[platform]
		require.Equal(t, index.Digest, i.Descriptor().Digest)
		require.Equal(t, index.Size, i.Descriptor().Size)
		d := i.ManifestDescriptor()
		require.Equal(t, want.Digest, d.Digest)
		require.Equal(t, want.Size, d.Size)
		require.Equal(t, platform, formatPlatform(*d.Platform))
		size, err := s.ContentSize(i)
		require.NoError(t, err)
		var sum int64
		for _, blob := range append(img.LayerDigests(), i.ID, i.Manifest) {
			if platform == "linux/arm64" {
				b, err := s.OpenBlob(blob)
				require.NoError(t, err)
				fi, err := b.Stat()
				require.NoError(t, err)
				sum += fi.Size()
				require.NoError(t, b.Close())
			}
		}
		if platform == "linux/arm64" {
			require.Equal(t, sum, size)
		}
	}
	require.Equal(t, all["linux/arm64"].ManifestDescriptor(), img.Summary().ManifestDescriptor())
	require.Equal(t, index.Digest, img.Descriptor().Digest)
}
