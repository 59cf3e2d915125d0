package registry

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of a Client's zero fields.
const (
	DefaultMaxManifestSize = 4 << 20 // bytes
	DefaultRetries         = 3
	DefaultResponseTimeout = 30 * time.Second
	DefaultStallTimeout    = 30 * time.Second
)

// A Client asks registries for images and pushes them. The zero value works; a Client is safe for concurrent use and
// must not be copied or changed after its first use.
//
// Every method's ctx bounds the whole call; for Blob it bounds the reading of the body too.
type Client struct {
	// HTTP makes the requests. Nil is a client of this Client's own that honours the proxy variables of the
	// environment. Its CheckRedirect is asked after the Client's own rules.
	HTTP *http.Client
	// Credentials returns a registry's credential by its host as references name it ("docker.io"), or by a mirror's
	// host. Nil is anonymous everywhere. DockerCredentials makes one of Docker's config.json.
	Credentials func(ctx context.Context, host string) (Credential, error)
	// Mirrors holds, by registry host as references name it, the base URLs that are asked first, in order, to read
	// (daemon.json's registry-mirrors are the ones of "docker.io"). When all fail the registry itself is asked.
	Mirrors map[string][]string
	// Insecure lists the registries, as host, host:port or CIDR range of IP addresses, whose TLS certificate is not
	// verified and which may speak plain HTTP when HTTPS fails (daemon.json's insecure-registries). Loopback
	// addresses and "localhost" always are so.
	Insecure []string
	// CertsDir is a folder in the manner of /etc/docker/certs.d: in its folder host or host:port (as in the URL), *.crt
	// are authorities to be trusted for that host besides the system's, *.cert with *.key a certificate to show it. They
	// are for that host alone, wherever it redirects to. They are read at the first request to the host. Empty is none.
	CertsDir string
	// UserAgent is sent with every request. Empty is "caisson".
	UserAgent string
	// MaxManifestSize bounds a manifest, in bytes. Zero is DefaultMaxManifestSize.
	MaxManifestSize int64
	// Retries is how often a request is tried again after a broken connection, a 429 or a 5xx, with exponential
	// back-off and jitter from 0.2 s, or after the time the registry asks for, up to a minute. Zero is DefaultRetries,
	// negative is never. A blob is resumed as often, counted anew after each megabyte received.
	Retries int
	// ResponseTimeout bounds the wait for an answer's header. Zero is DefaultResponseTimeout.
	ResponseTimeout time.Duration
	// StallTimeout bounds the wait for the next byte of a body. Zero is DefaultStallTimeout.
	StallTimeout time.Duration

	// Ranges is how many connections fetch a blob at a time, once one has turned out to be slower than the reader, with
	// half a MiB of memory for each, and one for what waits. They are for one of the blobs that a Client fetches side by side. A
	// registry that does not serve ranges is asked by one. Zero is DefaultRanges; 1 and negative values are one.
	Ranges int

	// ChunkSize is how many bytes of a blob are pushed with one request, for registries, or proxies before them, that
	// bound a request's body. A registry that asks for larger chunks gets them. Zero is the whole blob.
	ChunkSize int64

	rangeUnit    int64         // for tests; zero is the constant
	firstBackoff time.Duration // for tests; zero is the constant
	nobody       bool          // shows no certificate of CertsDir

	ranging  atomic.Bool // a blob is fetched by several connections
	once     sync.Once
	verified *http.Client // checks certificates
	lax      *http.Client // does not
	mu       sync.Mutex
	schemes  map[string]string    // by host: what an insecure registry turned out to speak
	auths    map[string]challenge // by origin: how the registry wants to be authenticated to
	tokens   tokenCache
	derived  []*Client // that are closed with this one
}

// init makes the two HTTP clients.
func (c *Client) init() {
	c.once.Do(func() {
		base := &http.Client{Transport: newTransport()}
		if c.HTTP != nil {
			base = c.HTTP
		}
		c.verified, c.lax = new(http.Client), new(http.Client)
		*c.verified, *c.lax = *base, *base
		c.verified.CheckRedirect = checkRedirect(base.CheckRedirect)
		c.lax.CheckRedirect = c.verified.CheckRedirect
		c.lax.Transport = withoutVerification(base.Transport)
		if c.CertsDir != "" {
			if c.verified.Transport == nil {
				c.verified.Transport = http.DefaultTransport
			}
			for _, h := range []*http.Client{c.verified, c.lax} {
				h.Transport = &hostTransport{
					base: h.Transport, dir: c.CertsDir, nobody: c.nobody, byHost: map[string]*http.Transport{},
				}
			}
		}
		c.schemes, c.auths = map[string]string{}, map[string]challenge{}
	})
}

// anonymous returns a client like c that shows nobody who it is: it has no credentials, cookies or certificates of its
// own. It is closed with c.
func (c *Client) anonymous() *Client {
	a := c.like()
	a.nobody = true
	if c.HTTP != nil {
		without := *c.HTTP
		without.Jar = nil
		if t, ok := c.HTTP.Transport.(*http.Transport); ok {
			t = t.Clone()
			if t.TLSClientConfig != nil {
				t.TLSClientConfig.Certificates, t.TLSClientConfig.GetClientCertificate = nil, nil
			}
			without.Transport = t
		}
		a.HTTP = &without
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.derived = append(c.derived, a)
	return a
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		DisableCompression:    true,
	}
}

// withoutVerification returns a copy of rt that accepts any certificate; a RoundTripper of a foreign type stays as it
// is.
func withoutVerification(rt http.RoundTripper) http.RoundTripper {
	if rt == nil {
		rt = http.DefaultTransport
	}
	t, ok := rt.(*http.Transport)
	if !ok {
		return rt
	}
	t = t.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.InsecureSkipVerify = true // the caller listed the registry as insecure, or it is this machine
	return t
}

// checkRedirect keeps credentials from other origins and refuses to leave HTTPS.
func checkRedirect(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return refuse("more than 10 redirects")
		}
		first, last := via[0], via[len(via)-1]
		if last.URL.Scheme == "https" && r.URL.Scheme != "https" {
			return refuse("redirect from https to %s refused", printable(r.URL.Scheme))
		}
		r.Header.Del("Referer") // signed addresses are secrets
		if !sameOrigin(first.URL, r.URL) {
			r.Header.Del("Authorization")
			if first.Context().Value(credentialsInside{}) != nil {
				return refuse("redirect of a request for a token to another origin, %s, refused", printable(r.URL.Host))
			}
		}
		if next != nil {
			return next(r, via)
		}
		return nil
	}
}

// credentialsInside marks the context of a request whose body or address must not go to another origin.
type credentialsInside struct{}

// CloseIdleConnections closes the connections that are kept for later requests.
func (c *Client) CloseIdleConnections() {
	c.init()
	c.verified.CloseIdleConnections()
	c.lax.CloseIdleConnections()
	c.mu.Lock()
	derived := slices.Clone(c.derived)
	c.mu.Unlock()
	for _, d := range derived {
		d.CloseIdleConnections()
	}
}

func (c *Client) maxManifestSize() int64 { return or(c.MaxManifestSize, DefaultMaxManifestSize) }

func (c *Client) responseTimeout() time.Duration {
	return or(c.ResponseTimeout, DefaultResponseTimeout)
}

func (c *Client) stallTimeout() time.Duration { return or(c.StallTimeout, DefaultStallTimeout) }

func (c *Client) retries() int { return max(0, or(c.Retries, DefaultRetries)) }

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}
