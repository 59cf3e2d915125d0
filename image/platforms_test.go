package image

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestPullAllPlatforms pulls an index with all that indexes hold: it can be pushed as it is, and the signatures of it hold.
func TestPullAllPlatforms(t *testing.T) {
	testenv.RequireRoot(t)
	f, s, host := newFakeRegistry(t), openStore(t, t.TempDir()), newServer(t)
	mk := func(arch string) ocispec.Descriptor {
		return f.add(t, testImage{platform: ocispec.Platform{OS: "linux", Architecture: arch}, layers: []testLayer{{"arch": arch}}})
	}
	other := func(system, config, mediaType, content string, more ...ocispec.Descriptor) (manifest, layer ocispec.Descriptor) {
		layer = f.blob(mediaType, []byte(content))
		manifest = f.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: f.blob(ocispec.MediaTypeImageConfig, []byte(config)), Layers: append(more, layer),
		})
		manifest.Platform = &ocispec.Platform{OS: system, Architecture: "unknown"}
		return manifest, layer
	}
	diffID := digest.FromString("x").String()
	attestation, statement := other("unknown", `{"os":"unknown","architecture":"unknown","rootfs":{"type":"layers","diff_ids":["`+diffID+`"]}}`,
		"application/vnd.in-toto+json", `{"statement":true}`)
	elsewhere := ocispec.Descriptor{
		MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Digest: digest.FromString("foreign"), Size: 7,
		URLs: []string{"https://example.test/layer"},
	}
	windows, _ := other("windows", `{"os":"windows","rootfs":{"type":"layers","diff_ids":["`+diffID+`","`+diffID+`"]}}`,
		ocispec.MediaTypeImageLayerGzip, "not extracted", elsewhere)
	s390x, inner := mk("s390x"), ocispec.Descriptor{}
	inner = f.addIndex(t, "inner", s390x)
	index := f.addIndex(t, "latest", mk("amd64"), mk("arm64"), attestation, windows, inner)

	// What fails in the middle leaves what was whole.
	f.spoilBlobs(func(w http.ResponseWriter, _ *http.Request, b []byte) bool {
		if digest.FromBytes(b) == statement.Digest {
			http.Error(w, "gone", http.StatusGone)
			return true
		}
		return false
	})
	_, err := Pull(t.Context(), s, f.ref("app"), &PullOptions{AllPlatforms: true, Platform: "linux/s390x"})
	require.Error(t, err)
	require.False(t, s.hasBlob(attestation))
	checkStore(t, s)
	f.spoilBlobs(nil)

	img, err := Pull(t.Context(), s, f.ref("app"), &PullOptions{AllPlatforms: true, Platform: "linux/s390x"})
	require.NoError(t, err)
	require.Equal(t, s390x.Digest, img.Manifest)
	require.Equal(t, index.Digest, img.Digest)
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		got, err := s.Get(t.Context(), f.ref("app"), &GetOptions{Platform: "linux/" + arch})
		require.NoError(t, err)
		require.NotNil(t, got.Layers)
		require.Equal(t, arch, content(t, got, 0, "arch"))
	}
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, s.hasBlob(statement))
	require.False(t, s.hasBlob(elsewhere))
	pushed, err := Push(t.Context(), s, f.ref("app"), &PushOptions{To: host + "/app:all"})
	require.NoError(t, err)
	require.Equal(t, index.Digest, pushed)
	again := openStore(t, t.TempDir())
	_, err = Pull(t.Context(), again, host+"/app:all", &PullOptions{AllPlatforms: true})
	require.NoError(t, err)
	require.True(t, again.hasBlob(windows))

	var last Event
	_, err = Pull(t.Context(), s, f.ref("app"), &PullOptions{AllPlatforms: true, Platform: "linux/arm64", Progress: func(e Event) { last = e }})
	require.NoError(t, err)
	require.Equal(t, UpToDate, last.Kind)
	require.Equal(t, 1, f.count(statement.Digest)-1, "once in vain, once for good")
	_, err = Pull(t.Context(), s, f.ref("app"), &PullOptions{AllPlatforms: true, Platform: "linux/ppc64le"})
	var pe *PlatformError
	require.ErrorAs(t, err, &pe)
	_, err = Pull(t.Context(), openStore(t, t.TempDir()), f.ref("app"), &PullOptions{AllPlatforms: true, MaxSize: 300})
	require.ErrorContains(t, err, "which is the limit")
}

// TestPullAllHolds: what a registry sends of manifests and configurations does not fill the memory.
func TestPullAllHolds(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	image := f.add(t, twoLayers)
	f.addIndex(t, "latest", image)
	run := func(room int) error {
		p, err := newPull(s, f.ref("app"), &PullOptions{AllPlatforms: true})
		require.NoError(t, err)
		p.held = maxHeld - room
		_, err = p.run(t.Context())
		return err
	}
	const says = "more than 67108864 bytes"
	require.ErrorContains(t, run(int(image.Size)-1), says)
	require.ErrorContains(t, run(int(image.Size)+1), says, "the configuration counts, too")
	require.NoError(t, run(1<<20))
}

// TestPullAllOfOne: a name that stands for one platform alone.
func TestPullAllOfOne(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	want := f.add(t, twoLayers, "latest")
	img, err := Pull(t.Context(), s, f.ref("app"), &PullOptions{AllPlatforms: true})
	require.NoError(t, err)
	require.Equal(t, want.Digest, img.Digest)
	artifact := f.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: f.blob("application/vnd.example", []byte("{}")), Layers: []ocispec.Descriptor{},
	}, "artifact")
	_, err = Pull(t.Context(), s, f.ref("app:artifact"), &PullOptions{AllPlatforms: true})
	require.ErrorIs(t, err, ErrNotImage)
	f.addIndex(t, "none", artifact)
	_, err = Pull(t.Context(), s, f.ref("app:none"), &PullOptions{AllPlatforms: true})
	var pe *PlatformError
	require.ErrorAs(t, err, &pe)
}
