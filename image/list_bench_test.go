package image

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// many makes a store with images that share three layers and have one of their own each. They are written as another
// program would, for speed: what counts is the reading.
func many(t testing.TB, n int) *Store {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	base, err := s.Commit(t.Context(), writes(testLayer{"a": "1"}.tar(t)), nil)
	require.NoError(t, err)
	for range 3 {
		base, err = s.Commit(t.Context(), writes(testLayer{"b": "2"}.tar(t)), &CommitOptions{Parent: base})
		require.NoError(t, err)
	}
	var x *ocispec.Index
	x, err = s.readIndex()
	require.NoError(t, err)
	for i := range n {
		config := bytes.Replace(base.ConfigJSON, []byte(`"os":"linux"`), fmt.Appendf(nil, `"os":"linux","author":"%d"`, i), 1)
		c := newDocument(ocispec.MediaTypeImageConfig, config)
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: c.desc, Layers: base.blobs}
		m.SchemaVersion = 2
		b, err := marshal(m)
		require.NoError(t, err)
		d := newDocument(m.MediaType, b)
		for _, d := range []document{c, d} {
			require.NoError(t, writeFile(s.blobPath(d.desc.Digest), d.bytes))
		}
		setName(x, fmt.Sprintf("docker.io/library/image:%d", i), d.desc)
	}
	require.NoError(t, s.writeIndex(x))
	return s
}

// BenchmarkSearch lists 500 images. The limit is 20 ms for the whole command, on an idle machine.
func BenchmarkSearch(b *testing.B) {
	s := many(b, 500)
	for b.Loop() {
		list, err := s.Search(b.Context(), nil)
		require.NoError(b, err)
		require.Greater(b, len(list), 500)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/20, "of-limit")
}

// TestListMany: the time grows with the number of images, not with its square.
func TestListMany(t *testing.T) {
	s := many(t, 200)
	start := time.Now()
	list, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 204)
	require.Less(t, time.Since(start), 20*time.Second)
}
