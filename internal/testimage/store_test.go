package testimage

import (
	"io"
	"io/fs"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

func TestStore(t *testing.T) {
	image := New(t, ocispec.ImageConfig{}, Layer{{Name: "a"}})
	s := Store{"some/thing:v1": image}
	d, content, err := s.Manifest(t.Context(), "some/thing", "v1")
	require.NoError(t, err)
	require.Equal(t, image.Manifest, Blob{d, content})
	_, _, err = s.Manifest(t.Context(), "some/thing", d.Digest.String())
	require.NoError(t, err)
	_, _, err = s.Manifest(t.Context(), "thing", "v1")
	require.ErrorIs(t, err, fs.ErrNotExist)
	r, err := s.Blob(t.Context(), "some/thing", image.Blobs[1].Descriptor.Digest)
	require.NoError(t, err)
	content, err = io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, image.Blobs[1].Content, content)
	require.NoError(t, r.Close())
	_, err = s.Blob(t.Context(), "some/thing", d.Digest)
	require.ErrorIs(t, err, fs.ErrNotExist)
	tags, err := s.Tags(t.Context(), "some/thing")
	require.NoError(t, err)
	require.Equal(t, []string{"v1"}, tags)
	_, err = s.Tags(t.Context(), "other")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
