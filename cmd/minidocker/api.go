package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caisson-engine/caisson/dockerapi"
	"github.com/caisson-engine/caisson/engine"
)

// An api is the Docker Engine API of an engine, in this process: what the command shows of things is what the API says of them.
type api struct {
	ctx     context.Context
	handler http.Handler
}

func (a *app) api(e *engine.Engine) *api { return &api{a.ctx, &dockerapi.Server{Engine: e}} }

// open calls an endpoint and returns the answer, which its caller closes.
func (c *api) open(method, path string, q url.Values) (*reply, error) {
	ctx, cancel := context.WithCancel(c.ctx)
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path+"?"+q.Encode(), http.NoBody)
	if err != nil {
		cancel()
		return nil, err
	}
	w := newAnswer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.handler.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK) // if it has sent nothing
		_ = w.body.Close()
	}()
	body := &reply{w.reader, w.header, cancel, done}
	if code := <-w.code; code >= http.StatusBadRequest {
		defer body.Close()
		return nil, apiError(code, body)
	}
	return body, nil
}

// get asks for a document.
func (c *api) get(path string, q url.Values, into any) error {
	return c.call(http.MethodGet, path, q, into)
}

func (c *api) call(method, path string, q url.Values, into any) error {
	body, err := c.open(method, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

// apiError is the error that an answer says.
func apiError(code int, body io.Reader) error {
	var m struct{ Message string }
	b, err := io.ReadAll(body)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return fmt.Errorf("%s: %s", http.StatusText(code), bytes.TrimSpace(b))
	}
	e := &engine.Error{Message: cmp.Or(m.Message, http.StatusText(code))}
	if code == http.StatusNotFound {
		e.Kind = engine.NotFound
	}
	return e
}

// An answer is what a handler writes, for who reads it at the other end of a pipe.
type answer struct {
	header http.Header
	code   chan int
	begun  bool
	body   *io.PipeWriter
	reader *io.PipeReader
}

func newAnswer() *answer {
	a := &answer{header: make(http.Header), code: make(chan int, 1)}
	a.reader, a.body = io.Pipe()
	return a
}

func (a *answer) Header() http.Header { return a.header }

// Flush implements http.Flusher: nothing waits.
func (a *answer) Flush() {}

func (a *answer) WriteHeader(code int) {
	if !a.begun {
		a.begun = true
		a.code <- code
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// A reply is an answer as it comes. Closing it ends the call.
type reply struct {
	*io.PipeReader
	header http.Header
	cancel context.CancelFunc
	done   chan struct{}
}

func (b *reply) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}

// filterQuery turns --filter's "key=value" into the parameter of the API.
func filterQuery(specs []string) (url.Values, error) {
	all := make(map[string]map[string]bool)
	for _, s := range specs {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("invalid filter '%s': it must be of the form key=value", s)
		}
		if all[key] == nil {
			all[key] = make(map[string]bool)
		}
		all[key][value] = true
	}
	q := make(url.Values)
	if len(all) > 0 {
		b, err := json.Marshal(all)
		if err != nil {
			return nil, err
		}
		q.Set("filters", string(b))
	}
	return q, nil
}
