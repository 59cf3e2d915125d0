package image

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPruneBudget: what was used longest ago goes first, what is in use stays, and what is left keeps the budget.
func TestPruneBudget(t *testing.T) {
	s, list := aged(t)
	for n, img := range list { // the last used longest ago
		at := time.Now().Add(-time.Duration(n+1) * time.Hour)
		require.NoError(t, os.Chtimes(s.blobPath(img.Manifest), at, at))
	}
	whole, err := s.Usage()
	require.NoError(t, err)
	removed, err := s.Prune(t.Context(), &PruneOptions{Budget: whole})
	require.NoError(t, err)
	require.Empty(t, removed.Deleted)

	release, err := s.Hold(t.Context(), list[2])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), s.LastUsed(list[2]), time.Minute)
	removed, err = s.Prune(t.Context(), &PruneOptions{Budget: whole - 1})
	require.NoError(t, err)
	require.Contains(t, removed.Deleted, list[3].ID)
	require.Empty(t, removed.Untagged, "it had no name")
	now, err := s.Usage()
	require.NoError(t, err)
	require.Equal(t, whole-removed.Bytes, now)
	require.Less(t, now, whole)

	removed, err = s.Prune(t.Context(), &PruneOptions{Budget: now - 1, InUse: func(i *Image) string {
		if i.ID == list[1].ID {
			return "me"
		}
		return ""
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/one:1"}, removed.Untagged, "two is in use, three is held")
	removed, err = s.Prune(t.Context(), &PruneOptions{Budget: 1, Filter: &Filter{Labels: []string{"n=none"}}})
	require.NoError(t, err)
	require.Empty(t, removed.Untagged)
	removed, err = s.Prune(t.Context(), &PruneOptions{Budget: 1})
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/x/two:2"}, removed.Untagged)
	require.NoError(t, release())
	_, err = s.Prune(t.Context(), &PruneOptions{Budget: 1})
	require.NoError(t, err)
	now, err = s.Usage()
	require.NoError(t, err)
	require.Zero(t, now)
}
