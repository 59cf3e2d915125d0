package testimage

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

func TestNew(t *testing.T) {
	image := New(t, ocispec.ImageConfig{Cmd: []string{"/a"}}, Layer{{Name: "a", Content: []byte("x")}}, Layer{{Name: "b/"}})
	require.Len(t, image.Blobs, 3)
	for _, b := range image.Blobs {
		require.Equal(t, b.Descriptor.Digest, digest.FromBytes(b.Content))
	}
	var m ocispec.Manifest
	require.NoError(t, json.Unmarshal(image.Manifest.Content, &m))
	require.Equal(t, image.Blobs[0].Descriptor, m.Config)
	require.Len(t, m.Layers, 2)
}
