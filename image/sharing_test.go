package image

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestSharedSizes: what is called unique to an image is what the store takes less when that is removed.
func TestSharedSizes(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	for tag, layers := range map[string][]testLayer{
		"a": {{"base": "1"}, {"a": "2"}}, "b": {{"base": "1"}, {"b": "3"}, {"c": "4"}}, "c": {{"base": "1"}, {"b": "3"}}, "alone": {{"x": "5"}},
	} {
		f.add(t, testImage{layers: layers}, tag)
		_, err := Pull(t.Context(), s, f.ref("app:"+tag), nil)
		require.NoError(t, err)
	}
	for left := 4; left > 0; left-- {
		before, err := s.DiskUsage(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, before.ByImage, left)
		var unique int64
		for _, u := range before.ByImage {
			unique += u.Unique
			require.Positive(t, u.Unique)
			if u.Names[0] == f.ref("app:alone") || left == 1 {
				require.Zero(t, u.Shared)
			}
		}
		require.LessOrEqual(t, unique, before.Blobs+before.Layers)
		gone := before.ByImage[0]
		_, err = s.Remove(t.Context(), gone.Names[0], nil)
		require.NoError(t, err)
		after, err := s.DiskUsage(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, gone.Unique, before.Blobs+before.Layers-after.Blobs-after.Layers)
	}
}
