package image

import (
	"errors"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// TestMakeIndex makes a multi-platform image of two, changes it, pushes it, and pulls it elsewhere.
func TestMakeIndex(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	byTag := map[string]*Image{}
	for tag, arch := range map[string]string{"x86": "amd64", "arm": "arm64", "newer": "arm64"} {
		f.add(t, testImage{layers: []testLayer{{"a": tag}}, platform: ocispec.Platform{OS: "linux", Architecture: arch}, docker: tag == "arm"}, tag)
		img, err := Pull(t.Context(), s, f.ref("app:"+tag), nil)
		require.NoError(t, err)
		byTag[tag] = img
	}
	one, err := s.MakeIndex(t.Context(), "multi", []string{f.ref("app:x86"), byTag["arm"].ID.String()}, map[string]string{"k": "v"})
	require.NoError(t, err)
	same, err := s.MakeIndex(t.Context(), "multi", []string{f.ref("app:x86"), f.ref("app:arm")}, map[string]string{"k": "v"})
	require.NoError(t, err)
	require.Equal(t, one, same)
	get := func(s *Store, ref, platform string) *Image {
		img, err := s.Get(t.Context(), ref, &GetOptions{Platform: platform})
		require.NoError(t, err)
		return img
	}
	require.Equal(t, byTag["x86"].ID, get(s, "multi", "linux/amd64").ID)
	require.Equal(t, byTag["arm"].ID, get(s, "multi", "linux/arm64").ID)
	two, err := s.MakeIndex(t.Context(), "multi", []string{"multi", f.ref("app:newer")}, nil)
	require.NoError(t, err)
	require.NotEqual(t, one, two)
	require.Equal(t, byTag["newer"].ID, get(s, "multi", "linux/arm64").ID)
	require.Equal(t, byTag["x86"].ID, get(s, "multi", "linux/amd64").ID)

	host := newServer(t)
	d, err := Push(t.Context(), s, "multi", &PushOptions{To: host + "/multi:1"})
	require.NoError(t, err)
	require.Equal(t, two, d)
	into := openStore(t, t.TempDir())
	got, err := Pull(t.Context(), into, host+"/multi:1", &PullOptions{Platform: "linux/arm64"})
	require.NoError(t, err)
	require.Equal(t, byTag["newer"].ID, got.ID)
	require.Equal(t, two, got.Digest)

	for name, refs := range map[string][]string{"none": {}, "BAD": {"multi"}, "a@" + string(two): {"multi"}, "x": {"nothing"}} {
		_, err := s.MakeIndex(t.Context(), name, refs, nil)
		require.True(t, errors.Is(err, ErrInvalid) || errors.Is(err, registry.ErrInvalidReference) || errors.Is(err, ErrNotFound), "%v", err)
	}
}
