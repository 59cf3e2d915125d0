package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// pulled makes a store with an image of the given layers under a name.
func pulled(t *testing.T, layers ...testLayer) (*Store, *Image, *fakeRegistry) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, testImage{layers: layers}, "v1")
	img, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	return s, img, f
}

func (s *Store) mustTag(t *testing.T, ref, name string) {
	require.NoError(t, s.Tag(t.Context(), ref, name))
}

func TestOpenLayout(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	s := openStore(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, "images/oci-layout"))
	require.NoError(t, err)
	require.JSONEq(t, `{"imageLayoutVersion":"1.0.0"}`, string(b))
	b, err = os.ReadFile(filepath.Join(dir, "images/index.json"))
	require.NoError(t, err)
	empty := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	require.JSONEq(t, empty, string(b))
	list, err := s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestGet(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"})
	s.mustTag(t, f.ref("app:v1"), "alpine")
	s.mustTag(t, "alpine", "abcd")
	for _, ref := range []string{
		"alpine", "alpine:latest", "docker.io/library/alpine", "index.docker.io/library/alpine:latest", f.ref("app:v1"),
		"alpine@" + img.Digest.String(), "abcd", img.ID.String(), img.ID.Encoded(), img.ID.Encoded()[:12],
		img.ID.String()[:7+4], img.Digest.String(), img.Digest.Encoded()[:12], "abcd:latest@" + img.Digest.String(),
	} {
		got, err := s.Get(t.Context(), ref, nil)
		require.NoError(t, err, ref)
		require.Equal(t, img.ID, got.ID)
		require.Len(t, got.Names, 3)
	}
	other := digest.FromString("other")
	for _, ref := range []string{
		"", "debian", "alpine:3", "other/alpine", img.ID.Encoded()[:3], other.String(), other.Encoded(),
		"alpine@" + other.String(),
		"debian@" + img.Digest.String(), "ALPINE", "a b", "../x", "sha256:../../x", "localhost/alpine",
	} {
		_, err := s.Get(t.Context(), ref, nil)
		require.ErrorIs(t, err, ErrNotFound, ref)
		require.ErrorIs(t, err, fs.ErrNotExist, ref)
	}
	_, err := s.Get(t.Context(), "alpine", &GetOptions{Platform: "a/b/c/d"})
	require.ErrorContains(t, err, "want os/architecture")
}

func TestGetAmbiguousPrefix(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	byPrefix := map[string]*Image{}
	for n := range 2000 { // 16 bits: a pair of equal prefixes soon comes
		b := fmt.Appendf(nil, `{"os":"linux","author":"%d","rootfs":{"type":"layers","diff_ids":[]}}`, n)
		config := f.blob(ocispec.MediaTypeImageConfig, b)
		i := &Image{ID: config.Digest}
		first := byPrefix[i.ID.Encoded()[:4]]
		byPrefix[i.ID.Encoded()[:4]] = i
		if first == nil {
			continue
		}
		for tag, id := range map[string]digest.Digest{"one": first.ID, "two": i.ID} {
			m := ocispec.Manifest{Config: f.blob(ocispec.MediaTypeImageConfig, f.blobs[id])}
			m.SchemaVersion, m.MediaType, m.Layers = 2, ocispec.MediaTypeImageManifest, []ocispec.Descriptor{}
			f.put(t, m.MediaType, m, tag)
			_, err := Pull(t.Context(), s, f.ref("x:"+tag), nil)
			require.NoError(t, err)
		}
		_, err := s.Get(t.Context(), i.ID.Encoded()[:4], nil)
		require.ErrorIs(t, err, ErrAmbiguous)
		_, err = s.Get(t.Context(), i.ID.Encoded()[:16], nil)
		require.NoError(t, err)
		return
	}
	t.Fatal("no two digests begin alike")
}

func TestTagMoves(t *testing.T) {
	s, one, f := pulled(t, testLayer{"a": "1"})
	f.add(t, testImage{layers: []testLayer{{"a": "2"}}}, "v2")
	two, err := Pull(t.Context(), s, f.ref("app:v2"), nil)
	require.NoError(t, err)
	s.mustTag(t, one.ID.String(), "x")
	s.mustTag(t, two.ID.String(), "x")
	got, err := s.Get(t.Context(), "x", nil)
	require.NoError(t, err)
	require.Equal(t, two.ID, got.ID)
	got, err = s.Get(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Equal(t, []string{f.ref("app:v1")}, got.Names)
	require.ErrorIs(t, s.Tag(t.Context(), "none", "x"), ErrNotFound)
	require.ErrorIs(t, s.Tag(t.Context(), "x", "X"), registry.ErrInvalidReference)
	require.ErrorIs(t, s.Tag(t.Context(), "x", "y@"+one.Digest.String()), registry.ErrInvalidReference)
	x, err := s.readIndex()
	require.NoError(t, err)
	require.Len(t, x.Manifests, 3)
}

func TestRemove(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"}, testLayer{"b": "2"})
	s.mustTag(t, f.ref("app:v1"), f.ref("app:v2"))
	s.mustTag(t, f.ref("app:v1"), "other")

	done, err := s.Remove(t.Context(), f.ref("app:v2"), nil)
	require.NoError(t, err)
	require.Equal(t, &Removed{Untagged: []string{f.ref("app:v2")}}, done)

	_, err = s.Remove(t.Context(), img.ID.Encoded()[:12], nil)
	require.ErrorIs(t, err, ErrConflict)

	done, err = s.Remove(t.Context(), "other", nil)
	require.NoError(t, err)
	require.Empty(t, done.Deleted)

	done, err = s.Remove(t.Context(), img.ID.Encoded()[:12], nil)
	require.NoError(t, err)
	require.Equal(t, []string{f.ref("app:v1")}, done.Untagged)
	require.Equal(t, []digest.Digest{img.ID, img.Layers[1].DiffID, img.Layers[0].DiffID}, done.Deleted)
	require.Positive(t, done.Bytes)
	_, err = s.Remove(t.Context(), "other", nil)
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, s.eachBlob(func(d digest.Digest, _ string) error {
		return errors.New("there is still " + d.String())
	}))
	l, err := s.layers.List()
	require.NoError(t, err)
	require.Empty(t, l)
}

func TestRemoveKeepsWhatOthersShare(t *testing.T) {
	s, one, f := pulled(t, testLayer{"a": "1"}, testLayer{"b": "2"})
	f.add(t, testImage{layers: []testLayer{{"a": "1"}, {"c": "3"}}}, "v2")
	two, err := Pull(t.Context(), s, f.ref("app:v2"), nil)
	require.NoError(t, err)
	done, err := s.Remove(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{one.ID, one.Layers[1].DiffID}, done.Deleted)
	got, err := s.Get(t.Context(), f.ref("app:v2"), nil)
	require.NoError(t, err)
	require.Equal(t, two.Layers, got.Layers)
}

func TestRemoveDigestsGoWithTheLastTag(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"})
	at := f.ref("app@" + img.Digest.String())
	_, err := Pull(t.Context(), s, at, nil)
	require.NoError(t, err)
	done, err := s.Remove(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Equal(t, []string{f.ref("app:v1"), at}, done.Untagged)
	require.Contains(t, done.Deleted, img.ID)

	_, err = Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	done, err = s.Remove(t.Context(), at, nil) // no name of its own
	require.NoError(t, err)
	require.Equal(t, []string{f.ref("app:v1")}, done.Untagged)
}

func TestRemoveInUse(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"})
	used := &RemoveOptions{InUse: func(i *Image) string {
		require.Equal(t, img.ID, i.ID)
		return "container 0123456789ab"
	}}
	_, err := s.Remove(t.Context(), f.ref("app:v1"), used)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "container 0123456789ab")
	s.mustTag(t, f.ref("app:v1"), "other")
	_, err = s.Remove(t.Context(), "other", used)
	require.NoError(t, err, "it has another name")
	used.Force = true
	done, err := s.Remove(t.Context(), f.ref("app:v1"), used)
	require.NoError(t, err)
	require.Empty(t, done.Deleted)
	_, err = s.Remove(t.Context(), img.ID.String(), used)
	require.ErrorIs(t, err, ErrInUse, "there is no name left to take")
	done, err = s.Prune(t.Context(), &PruneOptions{Untagged: true, InUse: used.InUse})
	require.NoError(t, err)
	require.Empty(t, done.Deleted)
	_, err = s.Get(t.Context(), img.ID.String(), nil)
	require.NoError(t, err)
	done, err = s.Prune(t.Context(), &PruneOptions{Untagged: true})
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{img.ID, img.Layers[0].DiffID}, done.Deleted)
}

func TestHold(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"})
	other := openStore(t, filepath.Dir(s.dir))
	release, err := s.Hold(t.Context(), img)
	require.NoError(t, err)
	_, err = other.Remove(t.Context(), f.ref("app:v1"), nil)
	require.ErrorIs(t, err, ErrInUse)
	done, err := other.Remove(t.Context(), f.ref("app:v1"), &RemoveOptions{Force: true})
	require.NoError(t, err)
	require.Equal(t, &Removed{Untagged: []string{f.ref("app:v1")}}, done)
	_, err = other.Prune(t.Context(), &PruneOptions{Unused: true})
	require.NoError(t, err)
	require.Equal(t, "1", content(t, img, 0, "a"))
	require.NoError(t, release())
	_, err = other.Prune(t.Context(), &PruneOptions{Untagged: true})
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(img.Layers[0].Dir, "a"))
	_, err = s.Hold(t.Context(), img)
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, left(t, s))
}

// TestHoldWithoutBlobs: an image that was deleted is gone, though another keeps its layers.
func TestHoldWithoutBlobs(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"})
	f.add(t, testImage{layers: []testLayer{{"a": "1"}}, compress: "zstd"}, "v2")
	_, err := Pull(t.Context(), s, f.ref("app:v2"), nil)
	require.NoError(t, err)
	_, err = s.Remove(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	_, err = s.Hold(t.Context(), img)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.Commit(t.Context(), writes(testLayer{"b": "2"}.tar(t)), &CommitOptions{Parent: img})
	require.ErrorIs(t, err, ErrNotFound)
	checkStore(t, s)
}

func TestPruneSparesRunningPull(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, testImage{layers: []testLayer{{"a": noise(1, 1<<20)}, {"b": noise(2, 100)}}}, "v1")
	f.slow(64<<10, 5e6)
	_, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Progress: func(e Event) {
		if e.Kind == Downloading || e.Kind == PullComplete || e.Kind == DownloadComplete {
			_, err := s.Prune(t.Context(), &PruneOptions{Unused: true})
			require.NoError(t, err)
		}
	}})
	require.NoError(t, err)
}

func TestPruneUnreferenced(t *testing.T) {
	s, _, _ := pulled(t, testLayer{"a": "1"})
	stray := digest.FromString("stray")
	require.NoError(t, os.WriteFile(s.blobPath(stray), []byte("stray"), 0o644))
	require.ErrorIs(t, s.Check(t.Context(), &CheckOptions{Unreferenced: true}), ErrCorrupt)
	require.NoError(t, s.Check(t.Context(), &CheckOptions{Deep: true}))
	_, err := s.Prune(t.Context(), &PruneOptions{KeepNewer: 1e12})
	require.NoError(t, err)
	require.FileExists(t, s.blobPath(stray))
	done, err := s.Prune(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, int64(5), done.Bytes)
	require.NoFileExists(t, s.blobPath(stray))
}

func TestCheckFindsDamage(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, s *Store, i *Image){
		"layer missing": func(t *testing.T, s *Store, i *Image) {
			require.NoError(t, os.Remove(s.blobPath(i.blobs[0].Digest)))
		},
		"layer cut": func(t *testing.T, s *Store, i *Image) {
			require.NoError(t, os.Truncate(s.blobPath(i.blobs[0].Digest), 10))
		},
		"layer changed":         func(t *testing.T, s *Store, i *Image) { flip(t, s.blobPath(i.blobs[0].Digest)) },
		"manifest changed":      func(t *testing.T, s *Store, i *Image) { flip(t, s.blobPath(i.Manifest)) },
		"configuration changed": func(t *testing.T, s *Store, i *Image) { flip(t, s.blobPath(i.ID)) },
		"manifest missing": func(t *testing.T, s *Store, i *Image) {
			require.NoError(t, os.Remove(s.blobPath(i.Manifest)))
		},
		"index.json": func(t *testing.T, s *Store, _ *Image) {
			require.NoError(t, os.WriteFile(s.path("index.json"), []byte("{"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.RequireRoot(t)
			f := newFakeRegistry(t)
			f.add(t, testImage{layers: []testLayer{{"a": "1"}}}, "v1")
			s, err := Open(t.TempDir()) // no checkStore at the end
			require.NoError(t, err)
			img, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
			require.NoError(t, err)
			harm(t, s, img)
			err = s.Check(t.Context(), &CheckOptions{Deep: true})
			require.ErrorIs(t, err, ErrCorrupt)
			if name == "index.json" {
				return
			}
			_, err = s.Prune(t.Context(), nil)
			if name != "layer changed" {
				require.ErrorIs(t, err, ErrCorrupt)
			}
			if name == "layer changed" {
				return
			}
			_, err = Pull(t.Context(), s, f.ref("app:v1"), nil)
			require.NoError(t, err, "a pull mends it")
			checkStore(t, s)
		})
	}
}

// flip changes a byte of a file.
func flip(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(path, b, 0o644))
}

func TestDamagedImageCanBeRemoved(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"})
	flip(t, s.blobPath(img.Manifest))
	_, err := s.Get(t.Context(), f.ref("app:v1"), nil)
	require.ErrorIs(t, err, ErrCorrupt)
	done, err := s.Remove(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Equal(t, []string{f.ref("app:v1")}, done.Untagged)
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
}
