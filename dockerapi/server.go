package dockerapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/caisson-engine/caisson/engine"
)

// A Server answers the Docker Engine API for an engine. It is an http.Handler. A Server must not be copied or changed after its first
// request.
type Server struct {
	// Engine is what it drives. It is needed.
	Engine *engine.Engine
	// Version is the server's own, as `docker version` shows it. Empty means that of the program's main module.
	Version string
	// Hosts are names that requests over TCP without TLS may have as their Host, besides localhost and addresses: a web page can have any
	// other one lead to this machine.
	Hosts []string
	// MaxBody bounds the JSON of a request, in bytes. Zero is [DefaultMaxBody]. Archives are not bounded by it.
	MaxBody int64
	// Authorize, if it is not nil, is asked before a request is answered, after all that is refused anyway, and an error refuses it, with status
	// 403 and the error's text. The request's path is that of the endpoint, without a version, and clean; endpoint is the pattern that it
	// fits, as [http.ServeMux] has it: "POST /containers/{name}/start", or "/" for what is nothing. The body is the endpoint's to read, and is not
	// bounded yet: who reads it puts another one in its place, and bounds it. It is called by several goroutines.
	Authorize func(r *http.Request, endpoint string) error
	// Log is told of requests that fail by this side's fault, and at debug level of all others. Nil is silent.
	Log *slog.Logger

	once  sync.Once
	mux   *http.ServeMux
	log   *slog.Logger
	execs execs

	consoles    consoles
	attachments attachments

	calls calls

	statsEvery time.Duration // between two answers of statistics; zero is a second
}

// DefaultMaxBody is the zero MaxBody, in bytes.
const DefaultMaxBody = 4 << 20

func (s *Server) init() {
	s.once.Do(func() {
		if s.log = s.Log; s.log == nil {
			s.log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
		}
		s.mux = http.NewServeMux()
		s.routes()
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	base := baseOf(r)
	if !s.calls.begin(base) {
		return // it serves no more; the connection is about to be closed
	}
	defer s.calls.end(base)
	a := &answer{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			s.fail(a, r, errInternal)
		}
	}()
	s.headers(w.Header())
	if err := s.admit(r); err != nil {
		s.fail(a, r, err)
		return
	}
	v, err := versioned(r)
	if err != nil {
		s.fail(a, r, err)
		return
	}
	if s.Authorize != nil {
		_, pattern := s.mux.Handler(v)
		if err := s.Authorize(v, pattern); err != nil {
			s.fail(a, r, failure(http.StatusForbidden, "%w", err))
			return
		}
	}
	s.mux.ServeHTTP(a, v)
}

// An answer notes whether something of the answer is on its way: then no error can be sent any more.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(code int) {
	a.begun = a.begun || code >= 200
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Calls counts what is under way for each Serve, by its context: http.Server does not wait for requests whose connection was taken over.
type calls struct {
	mu   sync.Mutex
	n    map[context.Context]int
	less *sync.Cond
}

// begin is false when that Serve is over. Otherwise end is to be called.
func (c *calls) begin(base context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if base.Err() != nil {
		return false
	}
	if c.n == nil {
		c.n, c.less = make(map[context.Context]int), sync.NewCond(&c.mu)
	}
	c.n[base]++
	return true
}

func (c *calls) end(base context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[base]--; c.n[base] == 0 {
		delete(c.n, base)
		c.less.Broadcast()
	}
}

// wait waits until nothing is under way for a Serve whose context has ended.
func (c *calls) wait(base context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.n[base] > 0 {
		c.less.Wait()
	}
}
