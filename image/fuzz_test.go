package image

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/registry"
)

const (
	seedDigest   = `"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`
	seedManifest = `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",` +
		`"digest":` + seedDigest + `,"size":2},"layers":[` +
		`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":` + seedDigest + `,"size":7}]}`
	seedIndex = `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"digest":` + seedDigest + `,"size":2,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}`
	seedConfig = `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[` + seedDigest + `]}}`
)

// FuzzManifest: whatever is accepted has only digests that can name files, and sizes that are sizes.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(seedManifest), ocispec.MediaTypeImageManifest)
	f.Add([]byte(seedManifest), registry.MediaTypeDockerManifest)
	f.Add([]byte(seedIndex), ocispec.MediaTypeImageManifest)
	f.Add([]byte(`{"schemaVersion":1,"fsLayers":[]}`), dockerSigned1)
	f.Fuzz(func(t *testing.T, b []byte, mediaType string) {
		m, err := parseManifest(b, mediaType)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(m.Layers), maxLayers)
		for _, d := range append(m.Layers, m.Config) {
			require.NoError(t, d.Digest.Validate())
			require.GreaterOrEqual(t, d.Size, int64(0))
		}
		_, err = parseIndex(b, mediaType)
		require.Error(t, err, "no document is both")
	})
}

// FuzzIndex: the choice among whatever is accepted is one that suits.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(seedIndex), ocispec.MediaTypeImageIndex, "linux/arm/v7")
	f.Add([]byte(seedIndex), registry.MediaTypeDockerManifestList, "linux/arm64")
	f.Add([]byte(seedManifest), ocispec.MediaTypeImageIndex, "")
	f.Fuzz(func(t *testing.T, b []byte, mediaType, platform string) {
		want, err := parsePlatform(platform)
		if err != nil {
			return
		}
		again, err := parsePlatform(formatPlatform(want))
		require.NoError(t, err)
		require.Equal(t, want, again)
		x, err := parseIndex(b, mediaType)
		if err != nil {
			return
		}
		if i := choosePlatform(want, x.Manifests); i >= 0 {
			require.GreaterOrEqual(t, rank(want, *x.Manifests[i].Platform), 0)
		}
	})
}

// FuzzConfig: whatever is accepted has as many layers as the manifest, all with digests that can name files.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(seedConfig), 1)
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":[]},"config":{"Cmd":null,"ExposedPorts":{"1/tcp":{}}}}`), 0)
	f.Fuzz(func(t *testing.T, b []byte, layers int) {
		c, err := parseConfig(b, layers)
		if err != nil {
			return
		}
		require.Len(t, c.RootFS.DiffIDs, layers)
		for _, d := range c.RootFS.DiffIDs {
			require.NoError(t, d.Validate())
		}
	})
}

// FuzzIndexJSON: names can be given and taken in whatever another program wrote.
func FuzzIndexJSON(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"digest":`+seedDigest+`,"size":1,`+
		`"annotations":{"org.opencontainers.image.ref.name":"a"}},{"digest":`+seedDigest+`,"size":1}]}`),
		"docker.io/library/a:latest")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		x, err := parseIndexJSON(b)
		if err != nil || name == "" {
			return
		}
		d := ocispec.DescriptorEmptyJSON
		d.MediaType, d.Data = ocispec.MediaTypeImageManifest, nil
		r, err := registry.ParseReference(name)
		if err != nil {
			return
		}
		name = storedName(r)
		setName(x, name, d)
		require.Contains(t, names(x)[d.Digest], name)
		require.Equal(t, d.Digest, x.Manifests[namedAt(x, name)].Digest)
		require.False(t, setName(x, name, d), "there is nothing more to do")
		dropName(x, name)
		require.NotContains(t, names(x)[d.Digest], name)
		require.True(t, containsDigest(x.Manifests, d.Digest))
	})
}
