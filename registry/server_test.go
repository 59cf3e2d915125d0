package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// ask puts one request to a handler. Headers are "Key: value".
func ask(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, s := range headers {
		key, value, _ := strings.Cut(s, ": ")
		r.Header.Set(key, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func code(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var e wireErrors
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), "%d %s", w.Code, w.Body)
	return e.Errors[0].Code
}

const imageType = "Content-Type: " + ocispec.MediaTypeImageManifest

func imageOf(config string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"x/y","digest":"%s","size":%d},"layers":[]}`,
		ocispec.MediaTypeImageManifest, digest.FromString(config), len(config))
}

func TestServerRefuses(t *testing.T) {
	s := new(Server)
	hello := string(digest.FromString("hello"))
	require.Equal(t, 201, ask(s, "POST", "/v2/a/blobs/uploads/?digest="+hello, "hello").Code)
	started := ask(s, "POST", "/v2/a/blobs/uploads/", "").Header().Get("Location")
	for _, test := range []struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		{"GET", "/", "", nil, 404, CodeUnsupported},
		{"GET", "/v1/", "", nil, 404, CodeUnsupported},
		{"GET", "/v2/x", "", nil, 404, CodeUnsupported},
		{"POST", "/v2/", "", nil, 405, CodeUnsupported},
		{"GET", "/v2/A/tags/list", "", nil, 400, CodeNameInvalid},
		{"GET", "/v2/../../etc/tags/list", "", nil, 400, CodeNameInvalid},
		{"GET", "/v2//tags/list", "", nil, 400, CodeNameInvalid},
		{"GET", "/v2/%2e%2e/manifests/x", "", nil, 400, CodeNameInvalid},
		{"GET", "/v2/" + strings.Repeat("a", 256) + "/tags/list", "", nil, 400, CodeNameInvalid},
		{"GET", "/v2/nobody/tags/list", "", nil, 404, CodeNameUnknown},
		{"GET", "/v2/a/tags/list?n=x", "", nil, 400, CodeUnsupported},
		{"GET", "/v2/a/tags/list?n=-1", "", nil, 400, CodeUnsupported},
		{"GET", "/v2/a/blobs/sha256:../../x", "", nil, 404, CodeUnsupported},
		{"GET", "/v2/a/blobs/sha256:..%2f..%2fx", "", nil, 404, CodeUnsupported},
		{"GET", "/v2/a/blobs/sha256:abc", "", nil, 400, CodeDigestInvalid},
		{"GET", "/v2/a/blobs/md5:" + strings.Repeat("0", 32), "", nil, 400, CodeDigestInvalid},
		{"GET", "/v2/a/blobs/" + someDigest, "", nil, 404, CodeBlobUnknown},
		{"GET", "/v2/b/blobs/" + hello, "", nil, 404, CodeBlobUnknown},
		{"PUT", "/v2/a/blobs/" + hello, "", nil, 405, CodeUnsupported},
		{"GET", "/v2/a/manifests/.bad", "", nil, 404, CodeManifestUnknown},
		{"GET", "/v2/a/manifests/none", "", nil, 404, CodeManifestUnknown},
		{"GET", "/v2/a/referrers/x", "", nil, 400, CodeDigestInvalid},
		{"DELETE", "/v2/a/manifests/none", "", nil, 404, CodeManifestUnknown},
		{"DELETE", "/v2/a/blobs/" + someDigest, "", nil, 404, CodeBlobUnknown},

		{"POST", "/v2/a/blobs/uploads/?digest=x", "", nil, 400, CodeDigestInvalid},
		{"POST", "/v2/a/blobs/uploads/?mount=x", "", nil, 400, CodeDigestInvalid},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", "", nil, 400, CodeDigestInvalid},
		{"POST", "/v2/a/blobs/uploads/?digest=" + someDigest, "hello", nil, 400, CodeDigestInvalid},
		{"PATCH", "/v2/a/blobs/uploads/x", "", nil, 404, CodeBlobUploadUnknown},
		{"PATCH", "/v2/a/blobs/uploads/" + newUUID(), "x", nil, 404, CodeBlobUploadUnknown},
		{"PATCH", strings.Replace(started, "/a/", "/b/", 1), "x", nil, 404, CodeBlobUploadUnknown},
		{"PATCH", started, "hello", []string{"Content-Range: 1-5"}, 416, CodeBlobUploadInvalid},
		{"PATCH", started, "hello", []string{"Content-Range: bytes 0-4/5"}, 400, CodeBlobUploadInvalid},
		{"PATCH", started, "hello", []string{"Content-Range: 4-0"}, 400, CodeBlobUploadInvalid},
		{"PATCH", started, "hello", []string{"Content-Range: 0-99999999999999999999"}, 400, CodeBlobUploadInvalid},
		{"PATCH", started, "hello", []string{"Content-Range: 0-9223372036854775807"}, 400, CodeBlobUploadInvalid},
		{"PATCH", started, "hello", []string{"Content-Range: 0-7"}, 400, CodeSizeInvalid},
		{"PUT", started, "hello", nil, 400, CodeDigestInvalid},
		{"PUT", started + "?digest=" + hello, "hello", []string{"Content-Range: 7-11"}, 416, CodeBlobUploadInvalid},
		{"PUT", started + "?digest=" + someDigest, "hello", nil, 400, CodeDigestInvalid},

		{"PUT", "/v2/a/manifests/t", "{", []string{imageType}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", `{"schemaVersion":1,"config":{},"layers":[]}`, []string{imageType}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", `{"schemaVersion":2,"layers":[]}`, []string{imageType}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", imageOf("hello"), []string{"Content-Type: text/html"}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", imageOf("hello"), []string{"Content-Type: " + ocispec.MediaTypeImageIndex}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", strings.Replace(imageOf("hello"), "sha256:", "sha256:../", 1), []string{imageType}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", strings.Replace(imageOf("hello"), `"size":5`, `"size":6`, 1), []string{imageType}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", imageOf("missing"), []string{imageType}, 404, CodeManifestBlobUnknown},
		{"PUT", "/v2/a/manifests/" + someDigest, imageOf("hello"), []string{imageType}, 400, CodeDigestInvalid},
		{"PUT", "/v2/a/manifests/" + string(digest.FromString(imageOf("hello"))) + "?tag=.x", imageOf("hello"), []string{imageType}, 400, CodeManifestInvalid},
		{"PUT", "/v2/a/manifests/t", imageOf("hello") + strings.Repeat(" ", DefaultMaxManifestSize), []string{imageType}, 413, CodeSizeInvalid},
	} {
		w := ask(s, test.method, test.path, test.body, test.headers...)
		require.Equal(t, test.status, w.Code, "%s %s: %s", test.method, test.path, w.Body)
		require.Equal(t, test.code, code(t, w), "%s %s", test.method, test.path)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	}
	require.Equal(t, "GET, HEAD", ask(s, "POST", "/v2/", "").Header().Get("Allow"))
}

func TestServerChunks(t *testing.T) {
	eachStore(t, func(t *testing.T, store fullStore) {
		s := &Server{Store: store}
		w := ask(s, "POST", "/v2/a/b/blobs/uploads/", "")
		require.Equal(t, 202, w.Code)
		at := w.Header().Get("Location")
		require.Equal(t, 202, ask(s, "PATCH", at, "abc", "Content-Range: 0-2").Code)
		w = ask(s, "PATCH", at, "abc", "Content-Range: 0-2")
		require.Equal(t, 416, w.Code)
		require.Equal(t, "0-2", w.Header().Get("Range"))
		w = ask(s, "PATCH", at, "def", "Content-Range: 3-5")
		require.Equal(t, "0-5", w.Header().Get("Range"))
		w = ask(s, "PATCH", at, "gh") // as docker does, without a range
		require.Equal(t, "0-7", w.Header().Get("Range"))
		w = ask(s, "GET", at, "")
		require.Equal(t, 204, w.Code)
		require.Equal(t, "0-7", w.Header().Get("Range"))
		require.Equal(t, at, w.Header().Get("Location"))
		d := digest.FromString("abcdefghi")
		w = ask(s, "PUT", at+"?digest="+string(d), "i", "Content-Range: 8-8")
		require.Equal(t, 201, w.Code)
		w = ask(s, "GET", w.Header().Get("Location"), "", "Range: bytes=2-4")
		require.Equal(t, 206, w.Code)
		require.Equal(t, "cde", w.Body.String())
		require.Equal(t, "bytes 2-4/9", w.Header().Get("Content-Range"))
		w = ask(s, "HEAD", "/v2/a/b/blobs/"+string(d), "")
		require.Equal(t, "9", w.Header().Get("Content-Length"))
		require.Equal(t, string(d), w.Header().Get("Docker-Content-Digest"))
		require.Equal(t, 416, ask(s, "GET", "/v2/a/b/blobs/"+string(d), "", "Range: bytes=9-").Code)
		require.Equal(t, 404, ask(s, "GET", at, "").Code)

		at = ask(s, "POST", "/v2/a/blobs/uploads/", "").Header().Get("Location")
		require.Equal(t, 204, ask(s, "DELETE", at, "").Code)
		require.Equal(t, 404, ask(s, "DELETE", at, "").Code)
		_ = ask(s, "POST", "/v2/a/blobs/uploads/", "")
		n, err := s.ExpireUploads(t.Context(), time.Hour)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = s.ExpireUploads(t.Context(), time.Nanosecond)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

func TestServerMaxBlobSize(t *testing.T) {
	s := &Server{MaxBlobSize: 5}
	d := "?digest=" + string(digest.FromString("123456"))
	require.Equal(t, 413, ask(s, "POST", "/v2/a/blobs/uploads/"+d, "123456").Code)
	at := ask(s, "POST", "/v2/a/blobs/uploads/", "").Header().Get("Location")
	require.Equal(t, 202, ask(s, "PATCH", at, "123").Code)
	require.Equal(t, 413, ask(s, "PATCH", at, "456").Code)
	r := httptest.NewRequest("PUT", at+d, io.MultiReader(strings.NewReader("456"))) // of unknown length
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	require.Equal(t, 413, w.Code)
	require.Equal(t, CodeSizeInvalid, code(t, w))
}

func TestServerTagsAndReferrers(t *testing.T) {
	eachStore(t, func(t *testing.T, store fullStore) {
		s := &Server{Store: store}
		putBlob(t, store, "a", "{}")
		subject := digest.FromString("subject")
		var digests []string
		for i := range 3 {
			manifest := strings.Replace(imageOf("{}"), `"layers"`, fmt.Sprintf(`"artifactType":"kind/%d","annotations":{"x":"%s"},"subject":{"digest":"%s"},"layers"`,
				i%2, strings.Repeat("x", 1_900_000+i), subject), 1)
			d := string(digest.FromString(manifest))
			w := ask(s, "PUT", "/v2/a/manifests/"+d+"?tag=t1&tag=t2&tag="+fmt.Sprint("v", i), manifest, imageType)
			require.Equal(t, 201, w.Code, w.Body)
			require.Equal(t, string(subject), w.Header().Get("OCI-Subject"))
			require.Equal(t, []string{"t1", "t2", fmt.Sprint("v", i)}, w.Header().Values("OCI-Tag"))
			digests = append(digests, d)
		}
		for path, want := range map[string]string{
			"":              `["t1","t2","v0","v1","v2"]`,
			"?n=0":          `[]`,
			"?n=2":          `["t1","t2"]`,
			"?n=2&last=t2":  `["v0","v1"]`,
			"?last=u":       `["v0","v1","v2"]`,
			"?n=9&last=v2":  `[]`,
			"?n=3&last=t2":  `["v0","v1","v2"]`,
			"?n=99&last=zz": `[]`,
		} {
			w := ask(s, "GET", "/v2/a/tags/list"+path, "")
			require.JSONEq(t, `{"name":"a","tags":`+want+`}`, w.Body.String(), path)
			require.Equal(t, path == "?n=2" || path == "?n=2&last=t2", w.Header().Get("Link") != "", path)
		}

		list := func(path string) (found []string, next string, h http.Header) {
			w := ask(s, "GET", path, "")
			require.Equal(t, 200, w.Code)
			require.Equal(t, ocispec.MediaTypeImageIndex, w.Header().Get("Content-Type"))
			require.LessOrEqual(t, w.Body.Len(), 4<<20)
			var index ocispec.Index
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &index))
			for _, d := range index.Manifests {
				found = append(found, string(d.Digest))
			}
			next, _, err := parseNextLink(w.Header().Get("Link"))
			require.NoError(t, err)
			return found, next, w.Header()
		}
		found, next, _ := list("/v2/a/referrers/" + string(subject))
		require.Len(t, found, 2, "a page is no larger than a manifest")
		more, none, _ := list(next)
		require.Empty(t, none)
		require.ElementsMatch(t, digests, append(found, more...))
		found, _, h := list("/v2/a/referrers/" + string(subject) + "?artifactType=kind/1")
		require.Equal(t, digests[1:2], found)
		require.Equal(t, "artifactType", h.Get("OCI-Filters-Applied"))
		found, _, _ = list("/v2/nobody/referrers/" + string(subject))
		require.Empty(t, found)
	})
}

func TestServerReadOnly(t *testing.T) {
	store := new(MemoryStore)
	d := putBlob(t, store, "a", "hello")
	s := &Server{Store: store, ReadOnly: true}
	require.Equal(t, 200, ask(s, "GET", "/v2/", "").Code)
	require.Equal(t, "hello", ask(s, "GET", "/v2/a/blobs/"+string(d), "").Body.String())
	for method, path := range map[string]string{
		"POST": "/v2/a/blobs/uploads/", "PUT": "/v2/a/manifests/x", "DELETE": "/v2/a/blobs/" + string(d), "PATCH": "/v2/a/blobs/uploads/" + newUUID(),
	} {
		w := ask(s, method, path, "")
		require.Equal(t, 405, w.Code)
		require.NotContains(t, w.Header().Get("Allow"), method)
	}
}

// TestServerPullOnlyStore serves a store that can do the least.
func TestServerPullOnlyStore(t *testing.T) {
	full := new(MemoryStore)
	d := putBlob(t, full, "a", "hello")
	s := &Server{Store: struct{ Store }{full}}
	require.Equal(t, 200, ask(s, "GET", "/v2/a/blobs/"+string(d), "").Code)
	for method, path := range map[string]string{
		"POST": "/v2/a/blobs/uploads/", "PUT": "/v2/a/manifests/x", "DELETE": "/v2/a/blobs/" + string(d), "PATCH": "/v2/a/blobs/uploads/" + newUUID(),
	} {
		require.Equal(t, 405, ask(s, method, path, "").Code)
	}
	require.Equal(t, 404, ask(s, "GET", "/v2/a/referrers/"+string(d), "").Code)
	_, err := s.ExpireUploads(t.Context(), 0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestServerAuthorize(t *testing.T) {
	store := new(MemoryStore)
	d := string(putBlob(t, store, "secret", "hello"))
	var asked []string
	s := &Server{Store: store, Challenge: `Bearer realm="x"`, Authorize: func(r *http.Request, repository, action string) error {
		asked = append(asked, repository+":"+action)
		switch {
		case r.Header.Get("Authorization") == "":
			return ErrUnauthorized
		case repository == "secret":
			return fmt.Errorf("it is secret: %w", ErrDenied)
		}
		return nil
	}}
	w := ask(s, "GET", "/v2/", "")
	require.Equal(t, 401, w.Code)
	require.Equal(t, `Bearer realm="x"`, w.Header().Get("WWW-Authenticate"))
	require.Equal(t, CodeUnauthorized, code(t, w))
	w = ask(s, "GET", "/v2/secret/blobs/"+d, "", "Authorization: x")
	require.Equal(t, 403, w.Code)
	require.Equal(t, CodeDenied, code(t, w))
	for _, from := range []string{"&from=secret", ""} {
		w = ask(s, "POST", "/v2/mine/blobs/uploads/?mount="+d+from, "", "Authorization: x")
		require.Equal(t, 202, w.Code, "a blob is not mounted from where it may not be read")
	}
	_ = ask(s, "DELETE", "/v2/mine/manifests/x", "", "Authorization: x")
	_ = ask(s, "GET", "/v2/mine/blobs/uploads/"+newUUID(), "", "Authorization: x")
	require.Equal(t, []string{":", "secret:pull", "mine:push", "secret:pull", "mine:push", "mine:delete", "mine:push"}, asked)
}

// TestServerSlowBody has a client stop in the middle of an upload: the server gives up, and keeps what came.
func TestServerSlowBody(t *testing.T) {
	store := new(MemoryStore)
	host := newServer(t, &Server{Store: store, BodyTimeout: 50 * time.Millisecond})
	u, err := store.NewUpload(t.Context(), "a")
	require.NoError(t, err)
	conn, err := net.Dial("tcp", host)
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PATCH /v2/a/blobs/uploads/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello", u.ID)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	answer, err := io.ReadAll(io.LimitReader(conn, 12))
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 400", string(answer))
	n, err := store.AppendUpload(t.Context(), u, -1, nil)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
}

// brokenStore fails in ways that are nobody else's business.
type brokenStore struct{ Store }

func (brokenStore) Tags(context.Context, string) ([]string, error) {
	return nil, errors.New("/secret/path: I/O error")
}

func TestServerStoreFails(t *testing.T) {
	var log strings.Builder
	w := ask(&Server{Store: brokenStore{}, Log: slog.New(slog.NewTextHandler(&log, nil))}, "GET", "/v2/a/tags/list", "")
	require.Equal(t, 500, w.Code)
	require.NotContains(t, w.Body.String(), "secret")
	require.Contains(t, log.String(), "/secret/path: I/O error")
}

func FuzzServer(f *testing.F) {
	for _, s := range []string{
		"GET /v2/", "GET /v2/a/tags/list?n=1&last=b", "PUT /v2/a/manifests/t", "POST /v2/a/blobs/uploads/?mount=" + someDigest + "&from=b",
		"POST /v2/a/blobs/uploads/?digest=" + someDigest, "GET /v2/a/referrers/" + someDigest, "DELETE /v2/a/blobs/" + someDigest,
		"PATCH /v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000", "GET /v2/../..//blobs/sha256:x",
	} {
		f.Add(s, "body", "0-3")
	}
	var stores []Store
	stores = append(stores, new(MemoryStore))
	dir := f.TempDir()
	if s, err := OpenFolder(dir + "/in/store"); err == nil {
		stores = append(stores, s)
	}
	f.Fuzz(func(t *testing.T, line, body, chunk string) {
		method, path, _ := strings.Cut(line, " ")
		for _, store := range stores {
			r, err := http.NewRequest(method, "http://registry.test", strings.NewReader(body))
			if err != nil {
				return
			}
			path, query, _ := strings.Cut(path, "?")
			r.URL.Path, r.URL.RawQuery = path, query
			r.Header.Set("Content-Range", chunk)
			r.Header.Set("Content-Type", ocispec.MediaTypeImageManifest)
			w := httptest.NewRecorder()
			(&Server{Store: store}).ServeHTTP(w, r)
			require.NotEqual(t, 500, w.Code, "%s %s: %s", method, path, w.Body)
			if to, err := parseRoute(path); err == nil && to.kind != routeBase {
				require.True(t, validRepository(to.repository))
				require.NotContains(t, to.name+to.repository+string(to.digest), "..")
			}
		}
	})
}
