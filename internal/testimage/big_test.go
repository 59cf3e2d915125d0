package testimage

import (
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

func TestBig(t *testing.T) {
	for _, zstd := range []bool{false, true} {
		f, err := Big{Bytes: 4 << 20, Entries: 400, Layers: 3, Zstd: zstd}.Write(t.TempDir())
		require.NoError(t, err)
		require.Len(t, f.Layers, 3)
		var size int64
		for _, l := range f.Layers {
			size += l.Size
			b, err := Served{f}.Blob(t.Context(), "any", l.Digest)
			require.NoError(t, err)
			content, err := io.ReadAll(b)
			require.NoError(t, err)
			require.NoError(t, b.Close())
			require.Equal(t, l.Digest, digest.FromBytes(content))
		}
		require.Greater(t, size, int64(4<<20)/5)
		require.Less(t, size, int64(4<<20)*3/5)
		d, _, err := Served{f}.Manifest(t.Context(), "any", "latest")
		require.NoError(t, err)
		require.Equal(t, f.Manifest.Descriptor, d)
	}
}
