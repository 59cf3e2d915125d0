package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A request is one question to an endpoint, which may be put several times.
type request struct {
	method  string
	path    string // behind /v2/
	query   url.Values
	address *url.URL // in place of path and query: where an upload is to go
	header  http.Header
	body    func() (io.Reader, error) // nil is no body; fails when it cannot be had again
	size    int64                     // of the body, in bytes
	once    bool                      // a broken connection is not tried again: who asks does that, or it would do harm

	credential Credential // shown to a token server

	subject string   // for errors
	scopes  []string // of a bearer token, such as repository:library/alpine:pull
}

// do puts the question until there is an answer that a further try would not change. The caller closes the body.
func (c *Client) do(ctx context.Context, e *endpoint, q *request) (*http.Response, error) {
	c.init()
	for try := 0; ; try++ {
		resp, err := c.send(ctx, e, q)
		last := try >= c.retries() || q.once
		var wait time.Duration
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return nil, describe(e, q, ctx.Err())
			}
			// A mirror that cannot be reached has another behind it.
			if last || e.mirror || !isPassing(err) {
				return nil, describe(e, q, err)
			}
			wait = c.backoff(try)
		case worthRetrying(resp.StatusCode):
			after, asked := retryAfter(resp.Header, time.Now())
			if last || after > maxRetryAfter {
				return resp, nil
			}
			if wait = c.backoff(try); asked {
				wait = after + wait/4
			}
			drain(resp)
		default:
			return resp, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, describe(e, q, err)
		}
	}
}

// send finds the scheme that an insecure registry speaks, with the first request itself.
func (c *Client) send(ctx context.Context, e *endpoint, q *request) (*http.Response, error) {
	schemes := c.schemesFor(e)
	if q.address != nil {
		schemes = []string{q.address.Scheme}
	}
	var errs []error
	for _, scheme := range schemes {
		resp, err := c.sendAuthorized(ctx, e, q, scheme)
		if err == nil {
			if len(schemes) > 1 {
				c.learnScheme(e, scheme)
			}
			return resp, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.As(err, new(*refusedError)) {
			return nil, err
		}
	}
	if len(errs) == 2 && errors.Is(errs[0], http.ErrSchemeMismatch) {
		return nil, errs[1] // it does speak HTTP
	}
	return nil, errs[0]
}

// sendAuthorized sends the request with the authorization that the registry is known to want, and once more with what
// a 401 asks for.
func (c *Client) sendAuthorized(ctx context.Context, e *endpoint, q *request, scheme string) (*http.Response, error) {
	u := q.address
	if u == nil {
		u = e.url(scheme, q.path, q.query)
	}
	origin := e.url(scheme, "", nil)
	foreign := !sameOrigin(u, origin)
	var authorization string
	if known, ok := c.knownChallenge(origin); ok && !foreign {
		var err error
		if authorization, err = c.authorize(ctx, &authRequest{e, origin, known, q.scopes, ""}); err != nil {
			return nil, err
		}
	}
	resp, err := c.roundTrip(ctx, e, q, target{u, authorization})
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	// Only the registry itself is believed when it asks for credentials, not one that it redirected to, nor the
	// place an upload goes to.
	if foreign || !sameOrigin(resp.Request.URL, origin) {
		return resp, nil
	}
	wanted, ok := c.learnChallenge(origin, resp.Header)
	if !ok {
		return resp, nil
	}
	again, err := c.authorize(ctx, &authRequest{e, origin, wanted, q.scopes, authorization})
	if err != nil {
		drain(resp)
		return nil, err
	}
	if again == "" || again == authorization {
		return resp, nil
	}
	drain(resp)
	return c.roundTrip(ctx, e, q, target{u, again})
}

// A target is where a request goes, and with what authorization.
type target struct {
	url           *url.URL
	authorization string
}

// roundTrip makes one HTTP request. The answer's body ends with an error when it stalls.
func (c *Client) roundTrip(ctx context.Context, e *endpoint, q *request, to target) (*http.Response, error) {
	ctx, dog := newWatchdog(ctx, c.responseTimeout())
	req, over, err := c.newRequest(ctx, q, to.url, dog)
	if err != nil {
		dog.stop()
		return nil, err
	}
	if to.authorization != "" {
		req.Header.Set("Authorization", to.authorization)
	}
	client := c.verified
	if e.lax {
		client = c.lax
	}
	resp, err := client.Do(req)
	over()
	if err != nil {
		err = causeOf(ctx, err)
		dog.stop()
		return nil, err
	}
	watchBody(ctx, resp, dog, c.stallTimeout())
	return resp, nil
}

// newRequest returns the request, and a function to be called when it is over, which takes its body away from net/http.
func (c *Client) newRequest(ctx context.Context, q *request, u *url.URL, dog *watchdog) (*http.Request, func(), error) {
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		return nil, nil, refuse("request: %w", err)
	}
	for key, values := range q.header {
		req.Header[key] = values
	}
	req.Header.Set("User-Agent", or(c.UserAgent, "caisson"))
	if q.method == http.MethodGet && req.Header.Get("Accept-Encoding") == "" {
		// The bytes that were signed for, not ones compressed for the journey.
		req.Header.Set("Accept-Encoding", "identity")
	}
	if q.body == nil {
		return req, func() {}, nil
	}
	body, err := q.body()
	if err != nil {
		return nil, nil, &refusedError{err}
	}
	req.ContentLength = q.size
	req.Body = http.NoBody
	if q.size > 0 {
		current := newRequestContent(body, q.size, dog)
		req.Body = current
		req.GetBody = func() (io.ReadCloser, error) {
			_ = current.Close()
			r, err := q.body()
			if err != nil {
				return nil, err
			}
			current = newRequestContent(r, q.size, dog)
			return current, nil
		}
		return req, func() { _ = current.Close() }, nil
	}
	return req, func() {}, nil
}

// A requestContent is the body of a request. Net/http may go on reading a body after it has given the answer or an
// error; once this is closed nothing touches what it reads from, so that it can be rewound for another try.
type requestContent struct {
	mu sync.Mutex
	r  io.Reader // nil when closed
}

func newRequestContent(r io.Reader, size int64, dog *watchdog) *requestContent {
	return &requestContent{r: &feedingReader{io.LimitReader(r, size), dog}}
}

func (c *requestContent) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.r == nil {
		return 0, errors.New("the request is over")
	}
	return c.r.Read(p)
}

func (c *requestContent) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r = nil
	return nil
}

// drain reads what is left of a short answer, so that its connection can be used again, and closes it.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody)
	_ = resp.Body.Close()
}
