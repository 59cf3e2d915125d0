package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// text is content that compresses to about a third, as programs do.
func text(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 2))
	var b bytes.Buffer
	words := make([]string, 2000)
	for i := range words {
		words[i] = noise(r.Uint64(), 2+r.IntN(8))
	}
	for b.Len() < n {
		b.WriteString(words[r.IntN(1+r.IntN(len(words)))])
	}
	return b.String()[:n]
}

// copyInto pushes what a fake registry has into the module's own.
func (f *fakeRegistry) copyInto(t testing.TB, to, tag string) {
	c := &registry.Client{}
	defer c.CloseIdleConnections()
	ref, err := registry.ParseReference(to)
	require.NoError(t, err)
	m := f.manifests[tag]
	var doc ocispec.Manifest
	require.NoError(t, json.Unmarshal(m.bytes, &doc))
	for _, d := range append(doc.Layers, doc.Config) {
		up := registry.BlobUpload{Descriptor: d, Content: bytes.NewReader(f.blobs[d.Digest])}
		_, err := c.PushBlob(t.Context(), ref, up)
		require.NoError(t, err)
	}
	require.NoError(t, c.PushManifest(t.Context(), ref, ocispec.Descriptor{MediaType: m.mediaType}, m.bytes))
}

// BenchmarkPull pulls an image of six layers, 100 MB and 5,000 files when extracted, from the module's registry in the
// same process: a cold store each time, durable. MB/s is of the extracted size; peak-MB is how much the heap grew.
func BenchmarkPull(b *testing.B) {
	testenv.RequireRoot(b)
	for _, how := range []string{"", "zstd"} {
		b.Run(map[string]string{"": "gzip", "zstd": "zstd"}[how], func(b *testing.B) {
			f := newFakeRegistry(b)
			i := testImage{compress: how}
			var size int64
			for n, mb := range []int{40, 25, 15, 10, 6, 4} {
				l := testLayer{}
				for k := range 830 {
					s := text(uint64(n*1000+k%50), mb<<20/830)
					l[fmt.Sprintf("usr/share/%d/%d/%d", n, k%30, k)] = s
					size += int64(len(s))
				}
				i.layers = append(i.layers, l)
			}
			f.add(b, i, "v1")
			ref := newServer(b) + "/app:v1"
			f.copyInto(b, ref, "v1")
			i.layers, f.blobs = nil, nil
			b.SetBytes(size)
			peak := uint64(0)
			for b.Loop() {
				b.StopTimer()
				s, err := Open(b.TempDir())
				require.NoError(b, err)
				watch := watchHeap()
				b.StartTimer()
				_, err = Pull(b.Context(), s, ref, nil)
				b.StopTimer()
				require.NoError(b, err)
				peak = max(peak, watch())
				b.StartTimer()
			}
			b.ReportMetric(float64(peak)/1e6, "peak-MB")
		})
	}
}

// watchHeap begins to watch the heap; the function that it returns says by how much it grew at most.
func watchHeap() func() uint64 {
	inUse := func() uint64 { // without stopping the world, as runtime.ReadMemStats does
		m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(m)
		return m[0].Value.Uint64()
	}
	runtime.GC()
	before, peak := inUse(), uint64(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				peak = max(peak, inUse())
			}
		}
	})
	return func() uint64 {
		close(stop)
		wg.Wait()
		return max(peak, before) - before
	}
}

// TestPullMemory: memory does not grow with a layer, nor with the number of layers, and has a bound whatever the compression.
func TestPullMemory(t *testing.T) {
	testenv.RequireRoot(t)
	for name, c := range map[string]struct {
		compress string
		layers   int
		mb       int
		limit    uint64
	}{
		"stored":                  {"stored", 1, 64, 24 << 20},
		"gzip":                    {"", 4, 8, 24 << 20},
		"zstd":                    {"zstd", 6, 12, 64 << 20},
		"zstd with large windows": {"zstd32", 6, 12, 64 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() { // as many layers, and as large windows
				c.mb = min(c.mb, 4)
			}
			f := newFakeRegistry(t)
			i := testImage{compress: c.compress}
			for n := range c.layers {
				i.layers = append(i.layers, testLayer{fmt.Sprint("big", n): strings.Repeat(noise(uint64(n), 1<<20), c.mb)})
			}
			f.add(t, i, "v1")
			i.layers = nil
			s := openStore(t, t.TempDir())
			watch := watchHeap()
			_, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
			grew := watch()
			require.NoError(t, err)
			t.Logf("the heap grew by %d MB at most", grew>>20)
			require.Less(t, grew, c.limit)
		})
	}
}
