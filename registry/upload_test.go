package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A breakingRegistry takes uploads, and misbehaves where break says so.
type breakingRegistry struct {
	Server
	misbehave func(n int, w http.ResponseWriter, r *http.Request) bool // n counts the requests with a body

	mu   sync.Mutex
	n    int
	log  []string // method and Content-Range of every request about an upload
	took int64    // bytes of bodies
}

func (b *breakingRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "/uploads/") {
		b.mu.Lock()
		b.log = append(b.log, strings.TrimSpace(r.Method+" "+r.Header.Get("Content-Range")))
		if r.ContentLength > 0 {
			b.n++
		}
		n := b.n
		b.mu.Unlock()
		r.Body = &countedBody{r.Body, b}
		if b.misbehave != nil && b.misbehave(n, w, r) {
			return
		}
	}
	b.Server.ServeHTTP(w, r)
}

type countedBody struct {
	io.ReadCloser
	b *breakingRegistry
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.b.mu.Lock()
	c.b.took += int64(n)
	c.b.mu.Unlock()
	return n, err
}

// cutAfter lets the registry see n bytes of a body, and then the connection break.
func (b *breakingRegistry) cutAfter(r *http.Request, n int64) {
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r.Body, n), broken{}), r.Body}
	b.Server.ServeHTTP(discard{http.Header{}}, r)
	panic(http.ErrAbortHandler)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func (b *breakingRegistry) push(t *testing.T, c *Client, content []byte) error {
	t.Helper()
	host := newServer(t, b)
	out, err := c.PushBlob(t.Context(), parse(t, host+"/app"), BlobUpload{
		Descriptor: describing("", content), Content: bytes.NewReader(content)})
	if err == nil {
		require.Equal(t, BlobUploaded, out)
		require.Equal(t, string(content), blobText(t, b.store, "app", describing("", content).Digest))
	}
	return err
}

// TestUploadResumes breaks the connection again and again: what the registry has is not sent again.
func TestUploadResumes(t *testing.T) {
	content := randomBytes(5 << 20)
	b := &breakingRegistry{}
	b.misbehave = func(n int, _ http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength > 0 && n <= 4 {
			b.cutAfter(r, 1<<20)
		}
		return false
	}
	c := newClient(t)
	c.Retries = 1 // counted anew after each megabyte
	require.NoError(t, b.push(t, c, content))
	end := len(content) - 1
	require.Equal(t, []string{"POST", "PUT", "GET", fmt.Sprintf("PATCH %d-%d", 1<<20, end), "GET",
		fmt.Sprintf("PATCH %d-%d", 2<<20, end), "GET", fmt.Sprintf("PATCH %d-%d", 3<<20, end), "GET",
		fmt.Sprintf("PATCH %d-%d", 4<<20, end), "PUT"}, b.log)
	require.Equal(t, int64(len(content)), b.took)
}

// TestUploadChunks sends pieces of the size asked for, or of what the registry wants at least.
func TestUploadChunks(t *testing.T) {
	content := randomBytes(2500)
	b := &breakingRegistry{}
	c := newClient(t)
	c.ChunkSize = 1000
	require.NoError(t, b.push(t, c, content))
	require.Equal(t, []string{"POST", "PATCH 0-999", "PATCH 1000-1999", "PATCH 2000-2499", "PUT"}, b.log)

	b = &breakingRegistry{misbehave: func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("OCI-Chunk-Min-Length", "2000")
		return false
	}}
	require.NoError(t, b.push(t, c, content))
	require.Equal(t, []string{"POST", "PATCH 0-1999", "PATCH 2000-2499", "PUT"}, b.log)

	// Content that cannot seek goes in chunks, too.
	b = &breakingRegistry{}
	_, err := c.PushBlob(t.Context(), parse(t, newServer(t, b)+"/app"), BlobUpload{
		Descriptor: describing("", content), Content: io.MultiReader(bytes.NewReader(content))})
	require.NoError(t, err)
	require.Len(t, b.log, 5)
}

// TestUploadOutOfStep is of a registry that stands elsewhere than it was thought to, and says 416.
func TestUploadOutOfStep(t *testing.T) {
	content := randomBytes(3000)
	c := newClient(t)
	c.ChunkSize = 1000

	// The answer to the second chunk is lost.
	b := &breakingRegistry{}
	b.misbehave = func(n int, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && n == 2 {
			b.Server.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		return false
	}
	require.NoError(t, b.push(t, c, content))
	require.Equal(t, []string{"POST", "PATCH 0-999", "PATCH 1000-1999", "GET", "PATCH 2000-2999", "PUT"}, b.log)

	// It forgot the half of a chunk that it had acknowledged.
	lost := false
	b = &breakingRegistry{misbehave: func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && r.Header.Get("Content-Range") == "1000-1999" && !lost {
			lost = true
			w.Header().Set("Range", "0-499")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}
		if r.Method == http.MethodGet { // it does not know: all from the beginning
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}}
	require.NoError(t, b.push(t, c, content))
	require.Equal(t, []string{"POST", "PATCH 0-999", "PATCH 1000-1999", "GET", "POST", "PATCH 0-999", "PATCH 1000-1999",
		"PATCH 2000-2999", "PUT"}, b.log)

	// It takes a part of a chunk.
	b = &breakingRegistry{}
	b.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && n == 1 {
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(r.Body, 400)), 400
			r.Header.Set("Content-Range", "0-399")
		}
		return false
	}
	require.NoError(t, b.push(t, c, content))
	require.Equal(t, []string{"POST", "PATCH 0-999", "PATCH 400-1399", "PATCH 1400-2399", "PATCH 2400-2999", "PUT"}, b.log)
}

// TestUploadLies is of a registry that is wrong about what it has: the digest finds it out, and the blob is sent whole.
func TestUploadLies(t *testing.T) {
	content := randomBytes(3 << 20)
	for _, where := range []string{"0-99999", "0-0", "0--1", "1-5", "0-99999999", "x", ""} {
		b := &breakingRegistry{}
		b.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				w.Header().Set("Range", where)
				w.Header().Set("Location", r.URL.Path)
				w.WriteHeader(http.StatusNoContent)
				return true
			}
			if r.Method == http.MethodPut && n == 1 {
				b.cutAfter(r, 1<<20)
			}
			return false
		}
		require.NoError(t, b.push(t, newClient(t), content), where)
	}
}

// TestUploadRefused is not tried again, and the registry is told that nothing more comes.
func TestUploadRefused(t *testing.T) {
	for _, status := range []int{400, 403, 404, 413} {
		b := &breakingRegistry{misbehave: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				w.WriteHeader(status)
				return true
			}
			return false
		}}
		require.ErrorContains(t, b.push(t, newClient(t), randomBytes(100)), fmt.Sprint(status))
		require.Equal(t, []string{"POST", "PUT", "DELETE"}, b.log)
	}
	// One that takes nothing of what it is sent does not keep us.
	b := &breakingRegistry{misbehave: func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			w.Header().Set("Range", "0-0")
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		return false
	}}
	c := newClient(t)
	c.ChunkSize = 10
	require.ErrorContains(t, b.push(t, c, randomBytes(100)), "took none")
}

// TestUploadGivenUp is that a registry is told of an upload that ctx ended in its middle, and keeps nothing of it.
func TestUploadGivenUp(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenFolder(dir)
	require.NoError(t, err)
	host := newServer(t, &Server{Store: store})
	ctx, cancel := context.WithCancel(t.Context())
	content := randomBytes(1 << 20)
	half := io.MultiReader(bytes.NewReader(content[:len(content)/2]), endOf(func() { cancel() }), bytes.NewReader(content[len(content)/2:]))
	_, err = newClient(t).PushBlob(ctx, parse(t, host+"/app"), BlobUpload{Descriptor: describing("", content), Content: half})
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		under, err := os.ReadDir(filepath.Join(dir, "uploads"))
		return err == nil && len(under) == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// endOf is an empty reader that says when it is read.
type endOf func()

func (e endOf) Read([]byte) (int, error) { e(); return 0, io.EOF }
