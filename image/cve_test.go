package image

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestHostileManifests pulls what registries have been made to say in the known attacks. Nothing of it is kept.
func TestHostileManifests(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	layer := f.blob(ocispec.MediaTypeImageLayerGzip, compress(t, "", testLayer{"a": "1"}.tar(t)))
	config := f.blob(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","rootfs":{"type":"layers","diff_ids":["`+
		digest.FromBytes(testLayer{"a": "1"}.tar(t)).String()+`"]}}`))
	manifest := func(extra string) []byte {
		c, err := json.Marshal(config)
		require.NoError(t, err)
		l, err := json.Marshal(layer)
		require.NoError(t, err)
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`, ocispec.MediaTypeImageManifest, c, l, extra)
	}
	bad := func(d string) []byte {
		return []byte(strings.Replace(string(manifest("")), layer.Digest.String(), d, 1))
	}
	index := func(list ...ocispec.Descriptor) ocispec.Index {
		return ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list}
	}
	f.put(t, ocispec.MediaTypeImageManifest, manifest(""), "good")
	// CVE-2021-41190: one document that is a manifest to one reader and an index to another.
	f.put(t, ocispec.MediaTypeImageManifest, manifest(`,"manifests":[]`), "two-kinds")
	f.put(t, ocispec.MediaTypeImageIndex, manifest(""), "two-types")
	f.put(t, ocispec.MediaTypeImageManifest, manifest(`,"Manifests":[]`), "other-case")
	// A digest that would be a path.
	for tag, d := range map[string]string{"climbs": "sha256:../../x", "short": "sha256:abc", "unknown": "md5:" + strings.Repeat("a", 32),
		"upper": strings.ToUpper(layer.Digest.String()), "none": ""} {
		f.put(t, ocispec.MediaTypeImageManifest, bad(d), tag)
	}
	// An index that goes on and on; a cycle cannot be, since a digest would have to contain itself.
	d := f.put(t, ocispec.MediaTypeImageManifest, manifest(""), "inner")
	for range maxNesting + 2 {
		d = f.put(t, ocispec.MediaTypeImageIndex, index(d))
	}
	f.put(t, ocispec.MediaTypeImageIndex, index(d), "nested")
	// A cycle all the same, by a registry that answers for any digest: the first one that is not its own ends it.
	loop := index(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("loop"), Size: 1})
	for range 2 { // the size is that of what says it
		b, err := json.Marshal(loop)
		require.NoError(t, err)
		loop.Manifests[0].Size = int64(len(b))
	}
	f.put(t, ocispec.MediaTypeImageIndex, loop, "cycle", string(loop.Manifests[0].Digest))
	// A manifest without end.
	f.put(t, ocispec.MediaTypeImageManifest, manifest(`,"x":"`+strings.Repeat("x", maxManifest)+`"`), "huge")
	for _, tag := range []string{"two-kinds", "two-types", "other-case", "climbs", "short", "unknown", "upper", "none", "nested", "cycle", "huge"} {
		_, err := Pull(t.Context(), s, f.ref("app:"+tag), nil)
		require.Error(t, err, tag)
		requireEmpty(t, s, "tmp", "leases", "blobs/sha256")
	}
	require.LessOrEqual(t, f.count(loop.Manifests[0].Digest), 1)
	_, err := Pull(t.Context(), s, f.ref("app:good"), nil)
	require.NoError(t, err)
}
