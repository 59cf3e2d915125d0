package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A cuttingServer serves one blob and misbehaves while doing so.
type cuttingServer struct {
	content []byte
	cut     func(try int, w http.ResponseWriter, r *http.Request, rest []byte) // nil serves well
	mu      sync.Mutex
	ranges  []string // the Range header of every request
}

func (s *cuttingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	try := len(s.ranges)
	s.mu.Unlock()
	rest := s.content
	var from int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
		rest = rest[min(from, len(rest)):]
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
	}
	s.cut(try, w, r, rest)
}

// sendPart promises everything and sends n bytes.
func sendPart(w http.ResponseWriter, rest []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(rest)))
	if w.Header().Get("Content-Range") != "" {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(rest[:min(n, len(rest))])
	w.(http.Flusher).Flush()
}

func TestBlobResumes(t *testing.T) {
	content := randomBytes(100_000)
	s := &cuttingServer{content: content, cut: func(try int, w http.ResponseWriter, _ *http.Request, rest []byte) {
		n := 30_000
		if try == 3 {
			n = len(rest)
		}
		sendPart(w, rest, n)
		panic(http.ErrAbortHandler)
	}}
	c := newClient(t)
	got, err := readBlob(t, c, parse(t, newServer(t, s)+"/app"), describing("", content))
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.Equal(t, []string{"", "bytes=30000-", "bytes=60000-"}, s.ranges[len(s.ranges)-3:])
}

func TestBlobResumesWithoutRanges(t *testing.T) {
	content := randomBytes(100_000)
	s := &cuttingServer{content: content, cut: func(try int, w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Del("Content-Range")
		sendPart(w, content, 30_000*try)
		if try < 4 {
			panic(http.ErrAbortHandler)
		}
	}}
	got, err := readBlob(t, newClient(t), parse(t, newServer(t, s)+"/app"), describing("", content))
	require.NoError(t, err)
	require.Equal(t, content, got)
}

func TestBlobResumesAfterStall(t *testing.T) {
	content := randomBytes(100_000)
	s := &cuttingServer{content: content, cut: func(try int, w http.ResponseWriter, r *http.Request, rest []byte) {
		if try == 1 {
			sendPart(w, rest, 50_000)
			<-r.Context().Done()
			return
		}
		sendPart(w, rest, len(rest))
	}}
	c := newClient(t)
	c.StallTimeout = 50 * time.Millisecond
	got, err := readBlob(t, c, parse(t, newServer(t, s)+"/app"), describing("", content))
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.Equal(t, "bytes=50000-", s.ranges[len(s.ranges)-1])
}

// TestSlowReaderIsNoStall has the consumer, not the registry, take its time.
func TestSlowReaderIsNoStall(t *testing.T) {
	content := randomBytes(1 << 20)
	c := newClient(t)
	ref := parse(t, newServer(t, new(Server))+"/app")
	_, desc := pushImage(t, c, ref, content)
	c.StallTimeout, c.Retries = 30*time.Millisecond, -1
	r, err := c.Blob(t.Context(), ref, desc)
	require.NoError(t, err)
	defer r.Close()
	_, err = io.CopyN(io.Discard, r, 1000)
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond)
	n, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.EqualValues(t, 1<<20-1000, n)
}

func TestBlobGivesUp(t *testing.T) {
	content := randomBytes(100_000)
	s := &cuttingServer{content: content, cut: func(_ int, w http.ResponseWriter, _ *http.Request, rest []byte) {
		sendPart(w, rest, 10)
		panic(http.ErrAbortHandler)
	}}
	c := newClient(t)
	ref := parse(t, newServer(t, s)+"/app")
	_, err := readBlob(t, c, ref, describing("", content))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "the connection broke after 40 of 100000 bytes")
	require.ErrorContains(t, err, ref.Host+"/app")
	require.Len(t, s.ranges, 1+DefaultRetries)
}

func TestHostileBlobs(t *testing.T) {
	content := randomBytes(100_000)
	other := bytes.Repeat([]byte("x"), len(content))
	desc := describing("", content)
	chunked := func(b []byte) func(int, http.ResponseWriter, *http.Request, []byte) {
		return func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(b)
		}
	}
	for name, test := range map[string]struct {
		cut  func(int, http.ResponseWriter, *http.Request, []byte)
		want []string
	}{
		"other bytes": {chunked(other), []string{string(desc.Digest), string(describing("", other).Digest)}},
		"one bit": {func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) {
			b := bytes.Clone(content)
			b[77_777] ^= 1
			sendPart(w, b, len(b))
		}, []string{"wanted digest " + string(desc.Digest), "got sha256:"}},
		"too long":            {chunked(append(bytes.Clone(content), 1)), []string{"more than its 100000 bytes"}},
		"claims to be longer": {func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) { sendPart(w, make([]byte, 100_001), 5) }, []string{"has 100001 bytes", "100000 should"}},
		"claims to be shorter": {func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) {
			sendPart(w, content[:10], 10)
		}, []string{"has 10 bytes of it"}},
		"too short": {func(try int, w http.ResponseWriter, r *http.Request, rest []byte) {
			if try > 1 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			chunked(content[:10])(try, w, r, rest)
		}, []string{"ends at byte 10, its size should be 100000"}},
		"another range": {func(try int, w http.ResponseWriter, _ *http.Request, rest []byte) {
			if try > 1 {
				w.Header().Set("Content-Range", "bytes 0-99999/100000")
				sendPart(w, rest, len(rest))
				return
			}
			sendPart(w, rest, 10)
			panic(http.ErrAbortHandler)
		}, []string{"asked for the bytes from 10 on"}},
		"compressed": {func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			sendPart(w, other, len(other))
		}, []string{"wanted digest"}},
	} {
		t.Run(name, func(t *testing.T) {
			host := newServer(t, &cuttingServer{content: content, cut: test.cut})
			b, err := readBlob(t, newClient(t), parse(t, host+"/app"), desc)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			require.ErrorContains(t, err, "blob "+string(desc.Digest)+" of "+host+"/app")
			require.LessOrEqual(t, len(b), len(content))
		})
	}
}

func TestBlobContextEnds(t *testing.T) {
	content := randomBytes(100_000)
	s := &cuttingServer{content: content, cut: func(_ int, w http.ResponseWriter, r *http.Request, rest []byte) {
		sendPart(w, rest, 10)
		<-r.Context().Done()
	}}
	c := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := c.Blob(ctx, parse(t, newServer(t, s)+"/app"), describing("", content))
	require.NoError(t, err)
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, r.Close())
	_, err = r.Read(make([]byte, 1))
	require.Error(t, err)
}

// TestUploadIsTriedAgain breaks the connection in the middle of an upload.
func TestUploadIsTriedAgain(t *testing.T) {
	content := randomBytes(1 << 20)
	registry := new(Server)
	var puts atomic.Int32
	host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			if puts.Add(1) == 1 {
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				panic(http.ErrAbortHandler)
			}
		}
		registry.ServeHTTP(w, r)
	}))
	c := newClient(t)
	up := BlobUpload{Descriptor: describing("", content), Content: io.MultiReader(bytes.NewReader(content))}
	_, err := c.PushBlob(t.Context(), parse(t, host+"/app"), up)
	require.Error(t, err, "content that cannot be read twice")
	puts.Store(0)
	file := bytes.NewReader(append([]byte("skipped"), content...))
	_, err = file.Seek(7, io.SeekStart)
	require.NoError(t, err)
	up.Content = file
	out, err := c.PushBlob(t.Context(), parse(t, host+"/app"), up)
	require.NoError(t, err)
	require.Equal(t, BlobUploaded, out)
	require.EqualValues(t, 2, puts.Load())
}

func TestUploadContentTooShort(t *testing.T) {
	c := newClient(t)
	c.Retries = 1
	desc := describing("", []byte("0123456789"))
	_, err := c.PushBlob(t.Context(), parse(t, newServer(t, new(Server))+"/app"), BlobUpload{Descriptor: desc, Content: strings.NewReader("0")})
	require.Error(t, err)
}

func TestMirrors(t *testing.T) {
	content := randomBytes(200_000)
	upstream, good := new(Server), new(Server)
	upstreamHost := newServer(t, upstream)
	ref := parse(t, upstreamHost+"/app")
	manifest, desc := pushImage(t, newClient(t), ref, content)
	goodHost := newServer(t, good)
	pushImage(t, newClient(t), parse(t, goodHost+"/app"), content)

	wrong := newServer(t, &cuttingServer{content: content, cut: func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) {
		sendPart(w, content, 1000)
		panic(http.ErrAbortHandler)
	}})
	for name, mirrors := range map[string][]string{
		"works":           {"http://" + goodHost},
		"down":            {"http://127.0.0.1:1"},
		"has nothing":     {"http://" + newServer(t, new(Server))},
		"breaks mid-blob": {"http://" + wrong, "http://" + goodHost},
		"speaks no HTTPS": {"https://" + goodHost},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			c.Mirrors = map[string][]string{upstreamHost: mirrors}
			_, got, err := c.Manifest(t.Context(), ref)
			require.NoError(t, err)
			require.Equal(t, manifest, got)
			b, err := readBlob(t, c, ref, desc)
			require.NoError(t, err)
			require.Equal(t, content, b)
			tags, err := c.Tags(t.Context(), ref)
			require.NoError(t, err)
			require.Equal(t, []string{"latest"}, tags)
		})
	}

	c := newClient(t)
	c.Mirrors = map[string][]string{upstreamHost: {"http://127.0.0.1:1"}}
	missing := ref
	missing.Tag = "missing"
	_, _, err := c.Manifest(t.Context(), missing)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "mirror 127.0.0.1:1")
	for _, bad := range []string{"ftp://x", "mirror.test", "https://user@x", "https://x?y", ":"} {
		c.Mirrors[upstreamHost] = []string{bad}
		_, _, err = c.Manifest(t.Context(), ref)
		require.ErrorContains(t, err, "mirror")
	}
}

// TestDockerHubMirror has docker.io served by its mirror, below a path.
func TestDockerHubMirror(t *testing.T) {
	store := new(MemoryStore)
	manifest, _ := pushImage(t, newClient(t), parse(t, newServer(t, &Server{Store: store})+"/library/alpine:1"), []byte("x"))
	host := newServer(t, http.StripPrefix("/hub", &Server{Store: store, ReadOnly: true}))
	c := newClient(t)
	c.Mirrors = map[string][]string{"docker.io": {"http://" + host + "/hub/"}}
	c.HTTP = &http.Client{Transport: refuseOthers{host}}
	_, got, err := c.Manifest(t.Context(), parse(t, "alpine:1"))
	require.NoError(t, err)
	require.Equal(t, manifest, got)
	_, _, err = c.Manifest(t.Context(), parse(t, "alpine:2"))
	require.ErrorContains(t, err, "registry docker.io: registry-1.docker.io refused by the test")
	require.ErrorContains(t, err, "mirror "+host)
}

// refuseOthers lets requests go to one host only.
type refuseOthers struct{ host string }

func (t refuseOthers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != t.host {
		return nil, refuse("%s refused by the test", r.URL.Host)
	}
	return http.DefaultTransport.RoundTrip(r)
}
