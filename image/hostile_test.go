package image

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// TestPullRefuses: images that are wrong, each with its own error, and nothing of them in the store afterwards.
func TestPullRefuses(t *testing.T) {
	testenv.RequireRoot(t)
	type M = ocispec.Manifest
	type C = ocispec.Image
	man := func(f func(m *M)) func(*ocispec.Manifest, *ocispec.Image) {
		return func(m *ocispec.Manifest, _ *ocispec.Image) {
			if m != nil {
				f(m)
			}
		}
	}
	con := func(f func(c *C)) func(*ocispec.Manifest, *ocispec.Image) {
		return func(_ *ocispec.Manifest, c *ocispec.Image) {
			if c != nil {
				f(c)
			}
		}
	}
	for name, c := range map[string]struct {
		mangle func(*ocispec.Manifest, *ocispec.Image)
		is     error
		says   string
	}{
		"foreign layer": {man(func(m *M) {
			m.Layers[0].MediaType = registry.MediaTypeDockerForeignLayer
		}), ErrNotImage, "foreign layer"},
		"layer with urls": {man(func(m *M) {
			m.Layers[0].URLs = []string{"http://127.0.0.1/x"}
		}), ErrNotImage, "another place"},
		"encrypted layer": {man(func(m *M) {
			m.Layers[0].MediaType += "+encrypted"
		}), ErrNotImage, "encrypted"},
		"unknown layer": {man(func(m *M) { m.Layers[0].MediaType = "text/plain" }), ErrNotImage, "text/plain"},
		"artifact": {man(func(m *M) {
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
		}), ErrNotImage, "helm"},
		"artifact type": {man(func(m *M) {
			m.ArtifactType, m.Config = "application/x-sbom", ocispec.DescriptorEmptyJSON
		}), ErrNotImage, "application/x-sbom"},
		"fewer diff IDs": {con(func(c *C) { c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1] }), ErrInvalid,
			"2 layers, configuration 1"},
		"no root file system": {con(func(c *C) { c.RootFS = ocispec.RootFS{} }), ErrNotImage, "root file system"},
		"diff ID that is a path": {con(func(c *C) { c.RootFS.DiffIDs[0] = "sha256:../../../x" }), ErrInvalid,
			"../../../x"},
		"wrong diff ID": {con(func(c *C) { c.RootFS.DiffIDs[0] = digest.FromString("x") }), layer.ErrDigest, ""},
		"windows":       {con(func(c *C) { c.OS = "windows" }), ErrNotImage, "windows"},
		"layer digest that is a path": {man(func(m *M) { m.Layers[0].Digest = "sha256:../../x" }),
			ErrInvalid, "../../x"},
		"unknown algorithm": {man(func(m *M) { m.Layers[0].Digest = "md5:0123456789abcdef" }), ErrInvalid, "md5"},
		"negative size":     {man(func(m *M) { m.Layers[0].Size = -1 }), ErrInvalid, "size -1"},
		"empty layer":       {man(func(m *M) { m.Layers[0].Size = 0 }), ErrInvalid, "size 0"},
		"sizes overflow": {man(func(m *M) {
			m.Layers[0].Size, m.Layers[1].Size = 1<<62, 1<<62
		}), ErrInvalid, ""},
		"huge configuration":            {man(func(m *M) { m.Config.Size = 1 << 30 }), ErrInvalid, "at most"},
		"configuration of another size": {man(func(m *M) { m.Config.Size++ }), nil, ""},
		"layer of another size":         {man(func(m *M) { m.Layers[0].Size++ }), nil, "bytes"},
		"layer larger":                  {man(func(m *M) { m.Layers[0].Size-- }), nil, "bytes"},
		"layer missing": {man(func(m *M) {
			m.Layers[1].Digest = digest.FromString("x")
		}), registry.ErrNotFound, ""},
		"not compressed as said": {man(func(m *M) {
			m.Layers[0].MediaType = ocispec.MediaTypeImageLayerZstd
		}), nil, "gzip"},
		"too many layers": {man(func(m *M) {
			for len(m.Layers) <= maxLayers {
				m.Layers = append(m.Layers, m.Layers[0])
			}
		}), ErrInvalid, "501 layers"},
		"the same layer as two": {con(func(c *C) {
			c.RootFS.DiffIDs[1] = c.RootFS.DiffIDs[0]
		}), layer.ErrDigest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFakeRegistry(t), openStore(t, t.TempDir())
			i := twoLayers
			i.mangle = c.mangle
			f.add(t, i, "v1")
			_, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Client: &registry.Client{Retries: -1}})
			require.Error(t, err)
			t.Log(err)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.ErrorContains(t, err, c.says)
			list, err := s.List(t.Context())
			require.NoError(t, err)
			require.Empty(t, list)
			_, err = s.Prune(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, left(t, s))
		})
	}
}

func TestPullRefusesDocuments(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	self := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("self"), Size: 10,
	}
	for tag, doc := range map[string]typed{
		"both": {ocispec.MediaTypeImageManifest, []byte(
			`{"schemaVersion":2,"config":{"digest":"` + self.Digest.String() + `"},"layers":[],"manifests":[]}`)},
		"type": {ocispec.MediaTypeImageManifest, []byte(
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)},
		"schema1":  {dockerSigned1, []byte(`{"schemaVersion":1,"fsLayers":[]}`)},
		"text":     {"text/html", []byte("<html>")},
		"nojson":   {ocispec.MediaTypeImageManifest, []byte("{")},
		"large":    {ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"x":"` + strings.Repeat("x", 5<<20) + `"}`)},
		"empty":    {ocispec.MediaTypeImageManifest, []byte(`{}`)},
		"null":     {ocispec.MediaTypeImageIndex, []byte(`null`)},
		"badentry": {ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":1}]}`)},
		"noentry":  {ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[]}`)},
	} {
		f.put(t, doc.mediaType, doc.bytes, tag)
		_, err := Pull(t.Context(), s, f.ref("app:"+tag), &PullOptions{Client: &registry.Client{Retries: -1}})
		require.Error(t, err, tag)
		t.Log(err)
	}
	_, err := Pull(t.Context(), s, f.ref("app:none"), nil)
	require.ErrorIs(t, err, registry.ErrNotFound)
	_, err = Pull(t.Context(), s, "No:Good:Name", nil)
	require.ErrorIs(t, err, registry.ErrInvalidReference)
	_, err = Pull(t.Context(), s, "app", &PullOptions{Platform: "linux/"})
	require.ErrorContains(t, err, "platform")
}

// TestPullNestedIndexes: an index may be inside another, to a bound, however it is made.
func TestPullNestedIndexes(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	d := f.add(t, twoLayers)
	for n := 1; n <= maxNesting+1; n++ {
		d.Platform = nil
		d = f.addIndex(t, fmt.Sprint("deep", n), d)
	}
	_, err := Pull(t.Context(), s, f.ref(fmt.Sprint("app:deep", maxNesting)), &PullOptions{Platform: "linux/amd64"})
	require.NoError(t, err)
	_, err = s.Get(t.Context(), f.ref(fmt.Sprint("app:deep", maxNesting)), nil)
	require.NoError(t, err)
	_, err = Pull(t.Context(), s, f.ref(fmt.Sprint("app:deep", maxNesting+1)), &PullOptions{Platform: "linux/amd64"})
	require.ErrorIs(t, err, ErrInvalid)

	// Wide: more manifests without a platform than are looked at.
	var wide []ocispec.Descriptor
	for n := range maxVisits + 1 {
		i := f.add(t, testImage{
			layers: []testLayer{{"n": fmt.Sprint(n)}}, platform: ocispec.Platform{OS: "linux", Architecture: "s390x"},
		})
		i.Platform = nil
		wide = append(wide, i)
	}
	f.addIndex(t, "wide", wide...)
	_, err = Pull(t.Context(), s, f.ref("app:wide"), &PullOptions{Platform: "linux/amd64"})
	require.ErrorIs(t, err, ErrInvalid)
}

func TestPullLimits(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, testImage{layers: []testLayer{{"zero": strings.Repeat("\x00", 8<<20)}}}, "v1")
	_, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{MaxSize: 100})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Limits: &layer.ExtractOptions{MaxSize: 1 << 20}})
	require.ErrorIs(t, err, layer.ErrLimit)
	require.Empty(t, left(t, s))
}

// TestPullWrongBytes: a registry that sends other bytes than it should, in every way.
func TestPullWrongBytes(t *testing.T) {
	testenv.RequireRoot(t)
	for name, spoil := range map[string]func(w http.ResponseWriter, r *http.Request, b []byte) bool{
		"one byte": func(w http.ResponseWriter, _ *http.Request, b []byte) bool {
			c := append([]byte(nil), b...)
			c[len(c)/2] ^= 1
			_, _ = w.Write(c)
			return true
		},
		"trailing byte": func(w http.ResponseWriter, _ *http.Request, b []byte) bool {
			w.(http.Flusher).Flush()
			_, _ = w.Write(append(append([]byte(nil), b...), 0))
			return true
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request, b []byte) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			_, _ = w.Write(b[:len(b)/2])
			panic(http.ErrAbortHandler)
		},
		"500": func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFakeRegistry(t), openStore(t, t.TempDir())
			f.add(t, testImage{layers: []testLayer{{"a": noise(1, 1<<20)}}}, "v1")
			f.spoilBlobs(func(w http.ResponseWriter, r *http.Request, b []byte) bool {
				return len(b) > 1<<19 && spoil(w, r, b)
			})
			_, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Client: &registry.Client{Retries: -1}})
			require.Error(t, err)
			t.Log(err)
			if name != "cut off" {
				require.Empty(t, left(t, s))
			}
			f.spoilBlobs(nil)
			_, err = Pull(t.Context(), s, f.ref("app:v1"), nil)
			require.NoError(t, err)
			require.Empty(t, left(t, s))
		})
	}
}

// TestPullSpoiltPart: what is left of a try before may be wrong; then the blob is fetched anew.
func TestPullSpoiltPart(t *testing.T) {
	testenv.RequireRoot(t)
	for name, harm := range map[string]func(b []byte) []byte{
		"zeros":  func(b []byte) []byte { return make([]byte, len(b)/2) },
		"end":    func(b []byte) []byte { return append(b[:len(b)/2:len(b)/2], make([]byte, 4096)...) },
		"longer": func(b []byte) []byte { return append(b, 0, 0, 0) },
		"whole":  func(b []byte) []byte { return b },
		"begun":  func(b []byte) []byte { return b[:len(b)-10] },
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFakeRegistry(t), openStore(t, t.TempDir())
			f.add(t, testImage{layers: []testLayer{{"a": noise(1, 1<<20)}}}, "v1")
			for d, b := range f.blobs {
				if len(b) > 1<<19 {
					require.NoError(t, writeFile(s.path("tmp", "sha256-"+d.Encoded()+partSuffix), harm(append([]byte(nil), b...))))
				}
			}
			img, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
			require.NoError(t, err)
			require.Empty(t, left(t, s))
			want := map[string]int{"whole": 0}
			if n, ok := want[name]; ok {
				require.Equal(t, n, f.count(img.blobs[0].Digest))
			}
			if name == "begun" {
				size := len(f.blobs[img.blobs[0].Digest])
				require.Equal(t, []string{fmt.Sprintf("bytes=%d-", size-10)}, f.ranges)
			}
		})
	}
}

// TestGetRefusesWrongBlob: what another program stored is verified when it is extracted.
func TestGetRefusesWrongBlob(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": noise(1, 1<<20)})
	require.NoError(t, s.layers.Remove(t.Context(), img.Layers[0].DiffID))
	flip(t, s.blobPath(img.blobs[0].Digest))
	got, err := s.Lookup(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Nil(t, got.Layers)
	_, err = s.Get(t.Context(), f.ref("app:v1"), nil)
	require.Error(t, err)
	require.Empty(t, left(t, s))
	flip(t, s.blobPath(img.blobs[0].Digest))
	got, err = s.Get(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Equal(t, img.Layers[0].DiffID, got.Layers[0].DiffID)
}

func TestParseIndexJSONRefuses(t *testing.T) {
	b, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{{Digest: "sha256:../x"}}})
	require.NoError(t, err)
	_, err = parseIndexJSON(b)
	require.ErrorIs(t, err, ErrCorrupt)
}
