package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A slowServer serves one blob, each connection a kilobyte a millisecond.
type slowServer struct {
	content []byte
	answer  func(n int, w http.ResponseWriter, from, to int) bool // does it otherwise, and says so

	mu        sync.Mutex
	requests  int
	now, most int // requests at a time
}

func (s *slowServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	n := s.requests
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	over := sync.OnceFunc(func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	})
	defer over()
	from, to := 0, len(s.content)-1
	if h := r.Header.Get("Range"); h != "" {
		if k, _ := fmt.Sscanf(h, "bytes=%d-%d", &from, &to); k < 1 {
			panic(h)
		}
	}
	if s.answer != nil && s.answer(n, w, from, to) {
		return
	}
	s.send(w, from, to, r.Header.Get("Range") != "", over)
}

// send calls over before the last piece, with which the client has it all.
func (s *slowServer) send(w http.ResponseWriter, from, to int, ranged bool, over func()) {
	w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
	if ranged {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.content)))
		w.WriteHeader(http.StatusPartialContent)
	}
	for rest := s.content[from : to+1]; len(rest) > 0; rest = rest[min(len(rest), 4<<10):] {
		if len(rest) <= 4<<10 {
			over()
		}
		if _, err := w.Write(rest[:min(len(rest), 4<<10)]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(4 * time.Millisecond)
	}
}

// read fetches the blob with pieces of 16 KB.
func (s *slowServer) read(t *testing.T, ranges int) ([]byte, error) {
	t.Helper()
	c := newClient(t)
	c.Ranges, c.rangeUnit = ranges, 16<<10
	r, err := c.Blob(t.Context(), parse(t, newServer(t, s)+"/app"), describing("", s.content))
	require.NoError(t, err)
	defer r.Close()
	return io.ReadAll(r)
}

// TestRanges fetches a blob that comes slowly by several connections, and one only by one.
func TestRanges(t *testing.T) {
	content := randomBytes(1<<20 + 12345)
	var took [2]time.Duration
	for i, ranges := range []int{1, 8} {
		s := &slowServer{content: content}
		begin := time.Now()
		got, err := s.read(t, ranges)
		took[i] = time.Since(begin)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got))
		require.LessOrEqual(t, s.most, ranges+1, "one may not have noticed yet that it is over")
		if ranges == 1 {
			require.Equal(t, 1, s.requests)
			continue
		}
		require.Greater(t, s.most, 2)
		require.Greater(t, s.requests, 50)
	}
	require.Less(t, took[1], took[0]*2/3)
}

// TestRangesFallBack is of registries that do not serve ranges, or not as they should: one connection goes on, and what
// comes is verified all the same.
func TestRangesFallBack(t *testing.T) {
	content := randomBytes(512 << 10)
	wrong := bytes.Clone(content)
	wrong[400<<10] ^= 1
	for name, answer := range map[string]func(s *slowServer) func(n int, w http.ResponseWriter, from, to int) bool{
		"all of it": func(s *slowServer) func(int, http.ResponseWriter, int, int) bool {
			return func(n int, w http.ResponseWriter, _, _ int) bool {
				if n > 1 {
					_, _ = w.Write(s.content)
				}
				return n > 1
			}
		},
		"another range": func(s *slowServer) func(int, http.ResponseWriter, int, int) bool {
			return func(n int, w http.ResponseWriter, from, to int) bool {
				if n > 1 && to < len(s.content)-1 {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", to-from, len(s.content)))
					w.WriteHeader(206)
					_, _ = w.Write(s.content[:to-from+1])
					return true
				}
				return false
			}
		},
		"another size": func(s *slowServer) func(int, http.ResponseWriter, int, int) bool {
			return func(n int, w http.ResponseWriter, from, to int) bool {
				if n > 1 && to < len(s.content)-1 {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.content)+1))
					w.WriteHeader(206)
					_, _ = w.Write(s.content[from : to+1])
					return true
				}
				return false
			}
		},
		"refused": func(s *slowServer) func(int, http.ResponseWriter, int, int) bool {
			return func(n int, w http.ResponseWriter, _, to int) bool {
				if n > 1 && to < len(s.content)-1 {
					w.WriteHeader(403)
					return true
				}
				return false
			}
		},
		"broken again and again": func(s *slowServer) func(int, http.ResponseWriter, int, int) bool {
			return func(n int, w http.ResponseWriter, from, to int) bool {
				if n > 1 && n%3 == 0 {
					w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.content)))
					w.WriteHeader(206)
					_, _ = w.Write(s.content[from : from+1000])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				}
				return false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slowServer{content: content}
			s.answer = answer(s)
			got, err := s.read(t, 4)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, got))
			require.Greater(t, s.requests, 1)
		})
	}
	t.Run("other bytes", func(t *testing.T) {
		s := &slowServer{content: content}
		s.answer = func(n int, w http.ResponseWriter, from, to int) bool {
			(&slowServer{content: wrong}).send(w, from, to, n > 1, func() {})
			return true
		}
		_, err := s.read(t, 4)
		var de *DigestError
		require.ErrorAs(t, err, &de)
	})
}

// TestRangesTurn is that several connections are for one blob at a time, and for the next when that is closed.
func TestRangesTurn(t *testing.T) {
	s := &slowServer{content: randomBytes(1 << 20)}
	c := newClient(t)
	c.rangeUnit = 16 << 10
	ref := parse(t, newServer(t, s)+"/app")
	var blobs [2]*blobReader
	read := func(i int) {
		t.Helper()
		_, err := io.CopyN(io.Discard, blobs[i], 100<<10)
		require.NoError(t, err)
	}
	for i := range blobs {
		r, err := c.Blob(t.Context(), ref, describing("", s.content))
		require.NoError(t, err)
		blobs[i] = r.(*blobReader)
		defer r.Close()
		read(i)
	}
	require.True(t, blobs[0].ranged)
	require.False(t, blobs[1].ranged)
	require.NoError(t, blobs[0].Close())
	require.NoError(t, blobs[0].Close())
	read(1)
	require.True(t, blobs[1].ranged)
}

// TestRangesEnd is that nothing goes on when the reader is closed or the context ends in the middle; testenv.Main looks for
// what is left.
func TestRangesEnd(t *testing.T) {
	for _, end := range []string{"close", "cancel"} {
		s := &slowServer{content: randomBytes(1 << 20)}
		c := newClient(t)
		c.rangeUnit = 16 << 10
		ctx, cancel := context.WithCancel(t.Context())
		r, err := c.Blob(ctx, parse(t, newServer(t, s)+"/app"), describing("", s.content))
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, r, 300<<10)
		require.NoError(t, err)
		require.True(t, r.(*blobReader).ranged)
		if end == "cancel" {
			cancel()
			_, err = io.Copy(io.Discard, r)
			require.True(t, errors.Is(err, context.Canceled), err)
		}
		require.NoError(t, r.Close())
		cancel()
	}
}
