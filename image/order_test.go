package image

import (
	"net/http"
	"path"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestPullLargestFirst: layers are asked for in the order of their sizes, so that none that takes long begins last.
func TestPullLargestFirst(t *testing.T) {
	testenv.RequireRoot(t)
	f := newFakeRegistry(t)
	var layers []testLayer
	for n, size := range []int{10 << 10, 200 << 10, 1 << 10, 50 << 10, 100 << 10} {
		layers = append(layers, testLayer{"f": noise(uint64(n), size)})
	}
	f.add(t, testImage{layers: layers}, "v1")
	for _, parallel := range []int{1, 2} {
		var mu sync.Mutex
		var asked []string
		together := make(chan struct{}) // closed when as many are asked for as may be
		f.spoilBlobs(func(_ http.ResponseWriter, r *http.Request, b []byte) bool {
			if b[0] == '{' { // the configuration
				return false
			}
			mu.Lock()
			asked = append(asked, path.Base(r.URL.Path))
			if len(asked) == parallel {
				close(together)
			}
			mu.Unlock()
			<-together
			return false
		})
		img, err := Pull(t.Context(), openStore(t, t.TempDir()), f.ref("app:v1"), &PullOptions{Parallel: parallel})
		require.NoError(t, err)
		var want []string
		for _, n := range []int{1, 4, 3, 0, 2} {
			want = append(want, img.blobs[n].Digest.String())
		}
		require.Len(t, asked, len(want))
		if parallel > 1 { // the two largest, whichever of them first; then whatever a slot is free for
			require.ElementsMatch(t, want[:2], asked[:2])
		} else {
			require.Equal(t, want, asked)
		}
	}
}
