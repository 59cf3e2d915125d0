package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxTokenAnswer  = 256 << 10 // bytes
	maxTokens       = 4096      // cached at a time
	defaultTokenTTL = 60 * time.Second
	clientID        = "caisson"
)

// An authRequest is the need for an Authorization header.
type authRequest struct {
	endpoint *endpoint
	origin   *url.URL // the registry's, with the scheme spoken
	want     challenge
	scopes   []string
	refused  string // the header that just was not good enough
}

type tokenKey struct{ origin, realm, service, scope string }

// A tokenEntry is a token of the cache; its holder fetches, the others wait.
type tokenEntry struct {
	hold    chan struct{} // of capacity 1
	header  string
	expires time.Time
}

type tokenCache struct {
	mu      sync.Mutex
	entries map[tokenKey]*tokenEntry
}

func (t *tokenCache) entry(key tokenKey) *tokenEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[key]
	if e == nil {
		if t.entries == nil || len(t.entries) >= maxTokens {
			t.entries = map[tokenKey]*tokenEntry{}
		}
		e = &tokenEntry{hold: make(chan struct{}, 1)}
		t.entries[key] = e
	}
	return e
}

// knownChallenge returns how a registry asked to be authenticated to before.
func (c *Client) knownChallenge(origin *url.URL) (challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch, ok := c.auths[origin.Scheme+"://"+origin.Host]
	return ch, ok
}

// learnChallenge takes the strongest challenge that is understood from a 401: bearer before basic.
func (c *Client) learnChallenge(origin *url.URL, h http.Header) (challenge, bool) {
	var best challenge
	for _, s := range h.Values("WWW-Authenticate") {
		all, _ := parseChallenges(s)
		for _, ch := range all {
			if ch.scheme == "bearer" && ch.params["realm"] != "" || ch.scheme == "basic" && best.scheme == "" {
				best = ch
			}
		}
	}
	if best.scheme == "" {
		return best, false
	}
	kept := challenge{best.scheme, maps.Clone(best.params)}
	delete(kept.params, "scope") // of this one request
	delete(kept.params, "error")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auths[origin.Scheme+"://"+origin.Host] = kept
	return best, true
}

// authorize returns an Authorization header for the challenge; empty when there is none to be had.
func (c *Client) authorize(ctx context.Context, a *authRequest) (string, error) {
	if a.want.scheme == "basic" {
		credential, err := c.credential(ctx, a.endpoint.name)
		if err != nil || credential.Username == "" {
			return "", err
		}
		return credential.basic(), nil
	}
	scopes := a.scopes
	if asked := a.want.params["scope"]; asked != "" {
		scopes = append(slices.Clone(scopes), strings.Fields(asked)...)
	}
	scopes = mergeScopes(scopes)
	key := tokenKey{
		a.origin.Scheme + "://" + a.origin.Host, a.want.params["realm"], a.want.params["service"],
		strings.Join(scopes, " "),
	}
	entry := c.tokens.entry(key)
	select {
	case entry.hold <- struct{}{}:
		defer func() { <-entry.hold }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if entry.header != "" && entry.header != a.refused && time.Now().Before(entry.expires) {
		return entry.header, nil
	}
	token, ttl, err := c.fetchToken(ctx, a, scopes)
	if err != nil || token == "" {
		return "", err
	}
	entry.header, entry.expires = "Bearer "+token, time.Now().Add(ttl-ttl/10)
	return entry.header, nil
}

// mergeScopes joins the actions of scopes for the same thing and sorts, so that equal wishes find the same token.
func mergeScopes(scopes []string) []string {
	actions := map[string][]string{}
	for _, s := range scopes {
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			actions[s] = nil
			continue
		}
		for a := range strings.SplitSeq(s[i+1:], ",") {
			if !slices.Contains(actions[s[:i+1]], a) {
				actions[s[:i+1]] = append(actions[s[:i+1]], a)
			}
		}
	}
	var out []string
	for thing, list := range actions {
		slices.Sort(list)
		out = append(out, thing+strings.Join(list, ","))
	}
	slices.Sort(out)
	return out
}

// mayShow says whether the realm may be shown the registry's credential: not when the challenge may be forged.
func (a *authRequest) mayShow(realm *url.URL) bool {
	// Over plain HTTP, or without a verified certificate, anybody on the way can name a realm: the credential then
	// goes to the host that it is for anyway, and nowhere else.
	return a.origin.Scheme == "https" && !a.endpoint.lax || strings.EqualFold(realm.Hostname(), a.origin.Hostname())
}

func (c *Client) fetchToken(ctx context.Context, a *authRequest, scopes []string) (string, time.Duration, error) {
	realm, err := url.Parse(a.want.params["realm"])
	if err != nil || !isHTTP(realm) || realm.User != nil {
		return "", 0, refuse("token server %q, named by the registry, is not an http(s) address",
			printable(a.want.params["realm"]))
	}
	if realm.Scheme == "http" && a.origin.Scheme == "https" && !a.endpoint.lax {
		return "", 0, refuse("token server %s, named by the registry, does not use https: refused",
			printable(realm.Host))
	}
	credential, err := c.credential(ctx, a.endpoint.name)
	if err != nil {
		return "", 0, &refusedError{err}
	}
	if credential.RegistryToken != "" {
		return credential.RegistryToken, time.Hour, nil
	}
	withheld := !credential.IsZero() && !a.mayShow(realm)
	if withheld {
		credential = Credential{}
	}
	q := tokenRequest(a, realm, credential, scopes)
	q.credential = credential
	// The token server is an endpoint of its own, as insecure as its own host is.
	e := &endpoint{host: realm.Host, name: realm.Host, scheme: realm.Scheme, lax: c.isInsecure(realm.Host)}
	token, ttl, err := c.askToken(ctx, e, q)
	if withheld && (errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrDenied)) {
		err = fmt.Errorf("%w; the credential for %s was not sent there: its connection is not verified",
			err, a.endpoint.name)
	}
	return token, ttl, err
}

func tokenRequest(a *authRequest, realm *url.URL, credential Credential, scopes []string) *request {
	q := &request{method: http.MethodGet, subject: "token for " + a.endpoint.name, address: realm}
	query := realm.Query()
	if service := a.want.params["service"]; service != "" {
		query.Set("service", service)
	}
	if credential.IdentityToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {credential.IdentityToken}, "client_id": {clientID},
			"service": query["service"], "scope": {strings.Join(scopes, " ")},
		}.Encode()
		q.method, q.size = http.MethodPost, int64(len(form))
		q.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		q.body = func() (io.Reader, error) { return strings.NewReader(form), nil }
		return q
	}
	query["scope"] = scopes
	query.Set("client_id", clientID)
	if credential.Username != "" {
		query.Set("account", credential.Username)
	}
	address := *realm
	address.RawQuery = query.Encode()
	q.address = &address
	return q
}

// askToken puts the question to the token server, with the same patience as any other.
func (c *Client) askToken(ctx context.Context, e *endpoint, q *request) (string, time.Duration, error) {
	credential := q.credential
	authorization := ""
	if credential.Username != "" && credential.IdentityToken == "" {
		authorization = credential.basic()
	}
	ctx = context.WithValue(ctx, credentialsInside{}, true)
	for try := 0; ; try++ {
		resp, err := c.roundTrip(ctx, e, q, target{q.address, authorization})
		retry := try < c.retries() && ctx.Err() == nil
		if err != nil {
			if !retry || !isPassing(err) {
				return "", 0, &refusedError{describe(e, q, err)}
			}
		} else if resp.StatusCode == http.StatusOK {
			return readToken(q, resp)
		} else if after, _ := retryAfter(resp.Header, time.Now()); !retry || !worthRetrying(resp.StatusCode) ||
			after > maxRetryAfter {
			return "", 0, &refusedError{tokenError(e, q, resp)}
		} else {
			drain(resp)
			if err := sleep(ctx, after); err != nil {
				return "", 0, err
			}
		}
		if err := sleep(ctx, c.backoff(try)); err != nil {
			return "", 0, err
		}
	}
}

func tokenError(e *endpoint, q *request, resp *http.Response) error {
	defer resp.Body.Close()
	out := &Error{Status: resp.StatusCode, Subject: q.subject, Hint: "token server " + e.name}
	switch {
	case out.sentinel() != ErrUnauthorized && out.sentinel() != ErrDenied:
	case q.credential.IsZero():
		out.Hint += " gives none without a credential: log in first"
	default:
		out.Hint += fmt.Sprintf(" refused the credential of user %q: check user and password", q.credential.Username)
	}
	return out
}

func readToken(q *request, resp *http.Response) (string, time.Duration, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer+1))
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", q.subject, err)
	}
	if len(b) > maxTokenAnswer {
		return "", 0, refuse("%s: the token server's answer is longer than %d bytes", q.subject, maxTokenAnswer)
	}
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", 0, refuse("%s: the token server's answer is not JSON", q.subject)
	}
	token := or(answer.Token, answer.AccessToken)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", 0, refuse("%s: the token server's answer holds no token", q.subject)
	}
	ttl := defaultTokenTTL
	if s := answer.ExpiresIn; s >= 1 && s <= 24*3600 {
		ttl = time.Duration(s * float64(time.Second))
	}
	return token, ttl, nil
}
