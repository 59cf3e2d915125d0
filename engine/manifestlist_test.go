package engine

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestManifestListTooLong: a list that could not be read again is not written, and the one before is there still.
func TestManifestListTooLong(t *testing.T) {
	e, err := Open(t.Context(), t.TempDir(), nil)
	require.NoError(t, err)
	defer e.Close()
	const ref = "example.com/image:1"
	require.NoError(t, e.withManifestList(t.Context(), "many", func(*ManifestList) (*ManifestList, error) {
		return &ManifestList{Name: "docker.io/library/many:latest", Manifests: []ListedManifest{{Ref: ref}}}, nil
	}))
	require.NoError(t, e.AnnotateManifestList(t.Context(), "many", ref, ocispec.Platform{OS: "linux"}))
	before, err := e.ManifestList(t.Context(), "many")
	require.NoError(t, err)
	require.Equal(t, "linux", before.Manifests[0].Platform.OS)
	for _, p := range []ocispec.Platform{{OS: strings.Repeat("x", maxListFile)}, {OSFeatures: make([]string, maxListFile/8)}} {
		require.ErrorIs(t, e.AnnotateManifestList(t.Context(), "many", ref, p), fs.ErrInvalid)
		after, err := e.ManifestList(t.Context(), "many")
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
	require.NoError(t, e.RemoveManifestList(t.Context(), "many"))
}
