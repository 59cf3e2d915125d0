package image

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// searched is what Search says of a store, and listed what List does, which reads the documents: they are to be equal.
func searched(t *testing.T, s *Store) (out []string) {
	t.Helper()
	all, err := s.Search(t.Context(), nil)
	require.NoError(t, err)
	for _, i := range all {
		out = append(out, told(i))
	}
	return out
}

func listed(t *testing.T, s *Store) (out []string) {
	t.Helper()
	all, err := s.List(t.Context())
	require.NoError(t, err)
	for _, i := range all {
		out = append(out, told(i.Summary()))
	}
	return out
}

func told(i *Summary) string {
	return fmt.Sprintln(i.ID, i.Digest, i.Manifest, i.Names, i.Created.UTC(), i.Size, i.Labels, i.Platform(), i.target)
}

// TestFacts is that the file of facts changes nothing of what Search says, however it looks.
func TestFacts(t *testing.T) {
	testenv.RequireRoot(t)
	s := many(t, 40)
	path := s.path(factsName)
	require.NoFileExists(t, path)
	want := listed(t, s)
	require.Len(t, want, 44)
	require.Equal(t, want, searched(t, s))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, want, searched(t, s))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "nothing was missing")

	for _, content := range []string{"", "x", factsHead, "\n\n\n", string(whole[:len(whole)/2]), string(whole) + "x",
		strings.Replace(string(whole), "facts 1", "facts 0", 1), strings.Replace(string(whole), "amd64", "amd46", 1)} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		require.Equal(t, want, searched(t, s))
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, now, len(whole), "it is written anew")
	}
}

// TestFactsFollow: what other programs do to the store is seen at once, with the file of facts there.
func TestFactsFollow(t *testing.T) {
	testenv.RequireRoot(t)
	s := many(t, 40)
	require.Equal(t, listed(t, s), searched(t, s))
	require.FileExists(t, s.path(factsName))
	all, err := s.List(t.Context())
	require.NoError(t, err)

	away := func(path string, fewer int) {
		require.NoError(t, os.Rename(path, path+".away"))
		require.Len(t, searched(t, s), len(all)-fewer)
		require.Equal(t, listed(t, s), searched(t, s))
		require.NoError(t, os.Rename(path+".away", path))
		require.Equal(t, listed(t, s), searched(t, s))
	}
	away(s.blobPath(all[0].ID), 1)
	away(s.blobPath(all[1].Manifest), 1)
	id := all[0].Layers[3].DiffID
	extracted := s.layers.Dir() + "/sha256/" + id.Encoded()
	away(extracted, 0) // the image is there, its size is not known

	// A name that moves, as skopeo writes it; then all gone.
	x, err := s.readIndex()
	require.NoError(t, err)
	setName(x, "docker.io/library/image:0", all[5].target)
	require.NoError(t, s.writeIndex(x))
	require.Equal(t, listed(t, s), searched(t, s))
	img, err := s.Lookup(t.Context(), all[5].ID.String(), nil)
	require.NoError(t, err)
	require.Contains(t, img.Names, "docker.io/library/image:0")
	require.NoError(t, s.writeIndex(&ocispec.Index{Manifests: []ocispec.Descriptor{}}))
	require.Empty(t, searched(t, s))
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
}

// TestFactsOfIndex: of an index, the platforms that were pulled; one that is pulled later is seen though the index is known.
func TestFactsOfIndex(t *testing.T) {
	testenv.RequireRoot(t)
	s, f := many(t, 20), newFakeRegistry(t)
	one := func(arch string) ocispec.Descriptor {
		return f.add(t, testImage{layers: []testLayer{{"a": arch}}, platform: ocispec.Platform{OS: "linux", Architecture: arch}})
	}
	f.addIndex(t, "multi", one("amd64"), one("arm64"))
	for _, platform := range []string{"linux/arm64", "linux/amd64"} {
		img, err := Pull(t.Context(), s, f.ref("app:multi"), &PullOptions{Platform: platform})
		require.NoError(t, err)
		for range 2 {
			require.Equal(t, listed(t, s), searched(t, s))
		}
		all, err := s.Search(t.Context(), &Filter{References: []string{f.ref("app:multi")}})
		require.NoError(t, err)
		require.Len(t, all, 1)
		for _, ref := range []string{img.ID.String(), img.ID.Encoded()[:12], img.Manifest.String()} {
			found, err := s.Get(t.Context(), ref, nil)
			require.NoError(t, err)
			require.Equal(t, img.Manifest, found.Manifest)
			require.Equal(t, []string{f.ref("app:multi")}, found.Names)
		}
		byIndex, err := s.Get(t.Context(), img.Digest.String(), &GetOptions{Platform: platform})
		require.NoError(t, err)
		require.Equal(t, img.Manifest, byIndex.Manifest)
	}
}

// FuzzFacts: whatever the file holds, reading it ends, and what it says can be written and read again.
func FuzzFacts(f *testing.F) {
	book := &factBook{}
	book.used.layers = map[digest.Digest]int64{"sha256:a": 5}
	book.used.documents = map[digest.Digest]*facts{
		"sha256:m": {mediaType: "m", bytes: 3, config: "sha256:c", created: time.Unix(1, 2).UTC(), labels: map[string]string{"a": "b"},
			platform: ocispec.Platform{OS: "linux"}, diffIDs: []digest.Digest{"sha256:a"}},
		"sha256:i": {mediaType: "i", created: time.Unix(0, 0).UTC(), children: []ocispec.Descriptor{
			{Digest: "sha256:m", MediaType: "m", Size: 3, Platform: &ocispec.Platform{Architecture: "arm"}}, {Size: -1},
		}},
	}
	f.Add(book.encode()[factsStart:])
	f.Add([]byte{})
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := &factBook{}
		if !b.decodeBody(string(body)) {
			return
		}
		b.used.layers, b.used.documents = b.layers, b.documents
		again := &factBook{}
		require.True(t, again.decode(b.encode()))
		require.Equal(t, b.layers, again.layers)
		require.Equal(t, b.documents, again.documents)
		require.False(t, again.decode(slices.Concat(b.encode(), []byte{0})))
	})
}
