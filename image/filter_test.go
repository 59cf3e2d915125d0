package image

import (
	"fmt"
	"slices"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// aged makes a store with images "one" to "four" of four days, the last without a name and all with a label n.
func aged(t *testing.T) (*Store, []*Image) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	var list []*Image
	for n, name := range []string{"one:1", "x/two:2", "quay.io/x/three:3", ""} {
		img, err := s.Commit(t.Context(), writes(testLayer{"a": fmt.Sprint(n)}.tar(t)), &CommitOptions{
			Name: name, Created: time.Date(2020, 1, n+1, 0, 0, 0, 0, time.UTC),
			Edit: func(c *ocispec.ImageConfig) { c.Labels = map[string]string{"n": fmt.Sprint(n), "all": ""} },
		})
		require.NoError(t, err)
		list = append(list, img)
	}
	return s, list
}

func TestSearch(t *testing.T) {
	s, list := aged(t)
	for _, c := range []struct {
		filters []string
		want    []int
	}{
		{nil, []int{0, 1, 2, 3}},
		{[]string{"dangling=true"}, []int{3}},
		{[]string{"dangling=false"}, []int{0, 1, 2}},
		{[]string{"label=n=1"}, []int{1}},
		{[]string{"label=n", "label=all"}, []int{0, 1, 2, 3}},
		{[]string{"label=n=1", "label=n=2"}, nil},
		{[]string{"label=none"}, nil},
		{[]string{"label!=n=1"}, []int{0, 2, 3}},
		{[]string{"before=x/two:2"}, []int{0}},
		{[]string{"since=x/two:2"}, []int{2, 3}},
		{[]string{"since=one:1", "before=" + list[3].ID.String()}, []int{1, 2}},
		{[]string{"since=one:1", "before=one:1"}, nil},
		{[]string{"reference=one"}, []int{0}},
		{[]string{"reference=*:1"}, []int{0}},
		{[]string{"reference=x/*"}, []int{1}},
		{[]string{"reference=quay.io/x/*:3", "reference=one:*"}, []int{0, 2}},
		{[]string{"until=2020-01-02T12:00:00Z"}, []int{0, 1}},
		{[]string{"until=1577836800"}, nil},
		{[]string{"until=20000000000"}, []int{0, 1, 2, 3}}, // longer after 1970 than a Duration can say
		{[]string{"until=1h"}, []int{0, 1, 2, 3}},
	} {
		f, err := ParseFilter(c.filters)
		require.NoError(t, err)
		got, err := s.Search(t.Context(), f)
		require.NoError(t, err)
		var n []int
		for _, i := range got {
			n = append(n, slices.IndexFunc(list, func(o *Image) bool { return o.ID == i.ID }))
		}
		slices.Sort(n)
		require.Equal(t, c.want, n, c.filters)
	}
	for _, bad := range []string{"dangling", "dangling=x", "color=red", "until=soon", "reference=[", "=x"} {
		_, err := ParseFilter([]string{bad})
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
	_, err := s.Search(t.Context(), &Filter{Before: "none"})
	require.ErrorIs(t, err, ErrNotFound)
	s.mustTag(t, "one:1", "also:1")
	got, err := s.Search(t.Context(), &Filter{References: []string{"also"}})
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/also:1"}, got[0].Names)
}

func TestPruneFilter(t *testing.T) {
	s, list := aged(t)
	f, err := ParseFilter([]string{"label=n=3"})
	require.NoError(t, err)
	removed, err := s.Prune(t.Context(), &PruneOptions{Unused: true, Filter: f})
	require.NoError(t, err)
	require.Contains(t, removed.Deleted, list[3].ID)
	require.Empty(t, removed.Untagged)
	removed, err = s.Prune(t.Context(), &PruneOptions{Untagged: true, Filter: &Filter{Until: time.Now()}})
	require.NoError(t, err)
	require.Empty(t, removed.Deleted)
	removed, err = s.Prune(t.Context(), &PruneOptions{Unused: true, Filter: &Filter{Until: list[1].Created}})
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/one:1"}, removed.Untagged)
	_, err = s.Prune(t.Context(), &PruneOptions{Unused: true, Filter: &Filter{Since: "none"}})
	require.ErrorIs(t, err, ErrNotFound)
	left, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 2)
}

func TestHistory(t *testing.T) {
	_, list := aged(t)
	empty := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	img := list[0]
	img.Config.History = append(img.Config.History, ocispec.History{Created: &empty, CreatedBy: "ENV a=b", EmptyLayer: true})
	h := img.History()
	require.Len(t, h, 2)
	require.Equal(t, HistoryEntry{ID: img.ID, Created: empty, CreatedBy: "ENV a=b"}, h[0])
	require.Equal(t, img.Config.RootFS.DiffIDs[0], h[1].DiffID)
	require.Equal(t, int64(1), h[1].Size)
	img.Config.History = nil
	require.Equal(t, []HistoryEntry{{ID: img.ID, DiffID: img.Config.RootFS.DiffIDs[0], Size: 1}}, img.History())
	img.Config.RootFS.DiffIDs = nil
	require.Empty(t, img.History())
}
