package registry

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// TestServerQuota is that a repository takes what it may and no more, in every way that something gets into it.
func TestServerQuota(t *testing.T) {
	eachStore(t, func(t *testing.T, store fullStore) {
		s := &Server{Store: store, AllowMissing: true, Quota: func(repository string) int64 {
			return map[string]int64{"small": 1000, "tiny": 10}[repository]
		}}
		post := func(repository, content string) int {
			d := digest.FromString(content)
			return ask(s, "POST", "/v2/"+repository+"/blobs/uploads/?digest="+string(d), content).Code
		}
		usage := func(repository string) int64 {
			n, err := store.(UsageReporter).Usage(t.Context(), repository)
			require.NoError(t, err)
			return n
		}
		six := strings.Repeat("6", 600)
		require.Equal(t, 201, post("free", strings.Repeat("x", 5000)))
		require.Equal(t, 201, post("small", six))
		require.Equal(t, int64(600), usage("small"))
		w := ask(s, "POST", "/v2/small/blobs/uploads/?digest="+string(digest.FromString(six+"x")), six+"x")
		require.Equal(t, 403, w.Code)
		require.Equal(t, CodeDenied, code(t, w))
		require.Contains(t, w.Body.String(), "repository small may hold 1000 bytes")
		require.Equal(t, int64(600), usage("small"), "nothing is left of it")

		// In chunks, whose sum counts; without a length, too.
		at := ask(s, "POST", "/v2/small/blobs/uploads/", "").Header().Get("Location")
		require.Equal(t, 202, ask(s, "PATCH", at, strings.Repeat("a", 300)).Code)
		require.Equal(t, int64(900), usage("small"))
		require.Equal(t, 403, ask(s, "PATCH", at, strings.Repeat("a", 101)).Code)
		r := httptest.NewRequest("PATCH", at, io.MultiReader(strings.NewReader(strings.Repeat("a", 101))))
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r)
		require.Equal(t, 413, rec.Code)
		require.Equal(t, 204, ask(s, "DELETE", at, "").Code)

		// By mounting, and by a manifest.
		at = "/v2/tiny/blobs/uploads/?from=small&mount=" + string(digest.FromString(six))
		require.Equal(t, 403, ask(s, "POST", at, "").Code)
		require.Equal(t, 201, ask(s, "POST", strings.Replace(at, "tiny", "free", 1), "").Code)
		require.Equal(t, 403, ask(s, "PUT", "/v2/tiny/manifests/x", imageOf("a"), imageType).Code)
		require.Equal(t, 201, ask(s, "PUT", "/v2/small/manifests/x", imageOf("a"), imageType).Code)

		// What is deleted makes room.
		require.Equal(t, 202, ask(s, "DELETE", "/v2/small/blobs/"+string(digest.FromString(six)), "").Code)
		require.Equal(t, 201, post("small", six+"y"))
	})
}

// TestServerQuotaTogether pushes from many sides at once.
func TestServerQuotaTogether(t *testing.T) {
	eachStore(t, func(t *testing.T, store fullStore) {
		s := &Server{Store: store, Quota: func(string) int64 { return 1000 }}
		var all sync.WaitGroup
		var taken atomic.Int64
		for i := range 20 {
			all.Go(func() {
				content := fmt.Sprintf("%100d", i)
				if ask(s, "POST", "/v2/a/blobs/uploads/?digest="+string(digest.FromString(content)), content).Code == 201 {
					taken.Add(1)
				}
			})
		}
		all.Wait()
		n, err := store.(UsageReporter).Usage(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, taken.Load()*100, n)
		require.LessOrEqual(t, n, int64(1000))
		require.Positive(t, n)
	})
}
