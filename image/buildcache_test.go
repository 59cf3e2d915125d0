package image

import (
	"io"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// TestBuildCache keeps images as steps of a build: they are in no list until they have a name or are shown, and go by their own option.
func TestBuildCache(t *testing.T) {
	s := openStore(t, t.TempDir())
	empty := func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1024))
		return err
	}
	first, err := s.Commit(t.Context(), empty, &CommitOptions{CacheKey: "one"})
	require.NoError(t, err)
	list := func(o *Filter) int {
		found, err := s.Search(t.Context(), o)
		require.NoError(t, err)
		return len(found)
	}
	require.Equal(t, []int{0, 1}, []int{list(nil), list(&Filter{BuildSteps: true})})
	second, err := s.Commit(t.Context(), nil, &CommitOptions{
		Parent: first, CacheKey: "two", History: []ocispec.History{{CreatedBy: "step", EmptyLayer: true}}, Extra: map[string]any{"Shell": []string{"x"}},
		Edit: func(c *ocispec.ImageConfig) { c.User = "me" },
	})
	require.NoError(t, err)
	require.Len(t, second.Layers, 1)
	require.Len(t, second.Config.History, 2)
	require.Contains(t, string(second.ConfigJSON), `"Shell":["x"]`)
	require.Equal(t, "me", second.Config.Config.User)
	for key, want := range map[string]*Image{"one": first, "two": second} {
		got, err := s.Cached(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, want.ID, got.ID)
	}
	_, err = s.Cached(t.Context(), "three")
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.Commit(t.Context(), nil, nil)
	require.Error(t, err)

	// A name shows it; when it has lost that to another, it is one without a name, and still the step's.
	require.NoError(t, s.Tag(t.Context(), second.ID.String(), "name"))
	require.Equal(t, 1, list(nil))
	require.NoError(t, s.Tag(t.Context(), first.ID.String(), "name"))
	require.Equal(t, 2, list(nil))
	_, err = s.Cached(t.Context(), "two")
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), &PruneOptions{Untagged: true})
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{list(nil), list(&Filter{BuildSteps: true})})

	third, err := s.Commit(t.Context(), nil, &CommitOptions{Parent: first, CacheKey: "three", Author: "me"})
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), &PruneOptions{Untagged: true, Unused: true})
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, []int{list(nil), list(&Filter{BuildSteps: true})})
	require.NoError(t, s.Show(t.Context(), third))
	require.NoError(t, s.Show(t.Context(), third))
	require.Equal(t, 1, list(nil))
	_, err = s.Commit(t.Context(), nil, &CommitOptions{Parent: third, CacheKey: "four", Author: "you"})
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), &PruneOptions{BuildCache: true})
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{list(nil), list(&Filter{BuildSteps: true})})
	require.NoError(t, s.Check(t.Context(), &CheckOptions{Unreferenced: true, Deep: true}))
}
