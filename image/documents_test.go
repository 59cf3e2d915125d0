package image

import (
	"os"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestDocuments is that the file of documents changes nothing of what List says, however it looks.
func TestDocuments(t *testing.T) {
	testenv.RequireRoot(t)
	s := many(t, 40)
	list := func() (out []string) {
		all, err := s.List(t.Context())
		require.NoError(t, err)
		for _, i := range all {
			out = append(out, i.ID.String()+strings.Join(i.Names, " ")+string(i.ConfigJSON))
		}
		return out
	}
	path := s.path(documentsName)
	require.NoFileExists(t, path)
	want := list()
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, want, list())
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "nothing was missing")

	spoilt := strings.ReplaceAll(string(whole), `"author"`, `"Author"`)
	for _, content := range []string{"", "x", "sha256:x 99999999999999999999\n", "\n\n\n", string(whole[:len(whole)/2]), spoilt,
		strings.ReplaceAll(string(whole), "sha256:", "sha256:../")} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		require.Equal(t, want, list())
	}
	// A document whose blob is gone is gone, and its place is taken by none.
	require.Equal(t, want, list())
	all, err := s.List(t.Context())
	require.NoError(t, err)
	gone := s.blobPath(all[0].ID)
	require.NoError(t, os.Rename(gone, gone+".away"))
	require.Len(t, list(), len(want)-1)
	require.NoError(t, os.Rename(gone+".away", gone))
	require.NoError(t, s.writeIndex(&ocispec.Index{Manifests: []ocispec.Descriptor{}}))
	require.Empty(t, list())
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
}
