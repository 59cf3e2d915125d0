package helloworld

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// Who pulls the image by digest depends on it: a change of the image changes this line, and nothing else does.
const indexDigest = "sha256:9a6cda49966b0b397c2e812247e86e1887844214b962884cec3d8719bf406158"

func TestImageIsTheSameEverywhere(t *testing.T) {
	image, err := New()
	require.NoError(t, err)
	require.Equal(t, indexDigest, image.Index.Descriptor.Digest.String())
}

func TestImageIsWhole(t *testing.T) {
	image, err := New()
	require.NoError(t, err)
	contents := make(map[digest.Digest]Content)
	for _, c := range append(append([]Content{image.Index}, image.Manifests...), image.Blobs...) {
		require.Equal(t, c.Descriptor.Digest, digest.FromBytes(c.Bytes))
		require.EqualValues(t, c.Descriptor.Size, len(c.Bytes))
		contents[c.Descriptor.Digest] = c
	}
	var index ocispec.Index
	require.NoError(t, json.Unmarshal(image.Index.Bytes, &index))
	require.Len(t, index.Manifests, 2)
	for _, d := range index.Manifests {
		var manifest ocispec.Manifest
		require.NoError(t, json.Unmarshal(contents[d.Digest].Bytes, &manifest))
		var config ocispec.Image
		require.NoError(t, json.Unmarshal(contents[manifest.Config.Digest].Bytes, &config))
		require.Equal(t, d.Platform.Architecture, config.Architecture)
		require.Len(t, manifest.Layers, 1)

		z, err := gzip.NewReader(bytes.NewReader(contents[manifest.Layers[0].Digest].Bytes))
		require.NoError(t, err)
		archive, err := io.ReadAll(z)
		require.NoError(t, err)
		require.Equal(t, []digest.Digest{digest.FromBytes(archive)}, config.RootFS.DiffIDs)

		r := tar.NewReader(bytes.NewReader(archive))
		header, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, config.Config.Cmd[0], "/"+header.Name)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		want, err := Program(config.Architecture, Greeting(config.Architecture))
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = r.Next()
		require.ErrorIs(t, err, io.EOF)
	}
}
