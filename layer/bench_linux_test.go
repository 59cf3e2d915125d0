package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// newBenchmarkTar is about 64 MB in 4,000 files of sizes as in a distribution's, half of it compressible.
func newBenchmarkTar(b *testing.B) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
		if i%3 > 0 {
			noise[i] = "etaoin shrdlu"[random.IntN(13)]
		}
	}
	var entries []entry
	for i := range 4000 {
		if i%20 == 0 {
			entries = append(entries, folderOf(fmt.Sprintf("usr/lib/d%d", i/20), 0o755))
		}
		size := 1 + random.IntN(4<<10)
		if i%8 == 0 {
			size = random.IntN(240 << 10)
		}
		entries = append(entries, file(fmt.Sprintf("usr/lib/d%d/f%d", i/20, i), string(noise[:size])))
	}
	return newTar(b, entries...)
}

// BenchmarkExtract reports, beside the time, its ratio to that of what cannot be left out, one after the other on one
// core: inflating, the digest and the parsing of the stream. Two cores and no files would give about 0.5 to 0.7.
func BenchmarkExtract(b *testing.B) {
	testenv.RequireRoot(b)
	data := newBenchmarkTar(b)
	for name, stream := range map[string][]byte{"plain": data, "gzip": gzipOf(b, data), "zstd": zstdOf(b, data)} {
		b.Run(name, func(b *testing.B) {
			s := newStore(b)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var bound time.Duration
			for b.Loop() {
				p, err := s.Extract(b.Context(), bytes.NewReader(stream), nil)
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, p.Discard())
				if name == "gzip" {
					bound += timeOf(b, stream)
				}
				b.StartTimer()
			}
			if name == "gzip" {
				b.ReportMetric(float64(b.Elapsed())/float64(bound), "of-bound")
			}
		})
	}
}

func timeOf(b *testing.B, stream []byte) time.Duration {
	start := time.Now()
	z, err := gzip.NewReader(bytes.NewReader(stream))
	require.NoError(b, err)
	h := sha256.New()
	r := tar.NewReader(io.TeeReader(z, h))
	for err == nil {
		_, err = r.Next()
	}
	require.ErrorIs(b, err, io.EOF)
	return time.Since(start)
}

func BenchmarkMount(b *testing.B) {
	testenv.RequireRoot(b)
	s := newStore(b)
	layers := newLayers(b, s, []entry{file("a", "1")}, []entry{file("b", "1")}, []entry{file("c", "1")})
	for _, old := range []bool{false, true} {
		b.Run(fmt.Sprint("old=", old), func(b *testing.B) {
			oldMount = old
			defer func() { oldMount = false }()
			for b.Loop() {
				root, err := Mount(b.Context(), layers, nil)
				require.NoError(b, err)
				require.NoError(b, root.Close())
			}
		})
	}
}
