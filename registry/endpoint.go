package registry

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// An endpoint is one place where a registry's API is served.
type endpoint struct {
	host   string // host[:port] to connect to
	prefix string // path before /v2/, without a slash at its end
	scheme string // fixed by a mirror's URL; empty is https, or what an insecure registry speaks
	name   string // what Credentials is asked for, and errors speak of
	mirror bool
	lax    bool // certificate unverified, plain HTTP allowed
}

// endpoints returns where to read host's content from, mirrors first.
func (c *Client) endpoints(host string) ([]endpoint, error) {
	var all []endpoint
	for _, mirror := range c.Mirrors[host] {
		u, err := url.Parse(mirror)
		if err != nil || !isHTTP(u) || u.User != nil || u.RawQuery != "" {
			return nil, fmt.Errorf("mirror %q of registry %s: not of the form https://host[:port][/path]",
				printable(mirror), host)
		}
		all = append(all, endpoint{
			host: u.Host, prefix: strings.TrimRight(u.Path, "/"), scheme: u.Scheme,
			name: u.Host, mirror: true, lax: c.isInsecure(u.Host),
		})
	}
	return append(all, c.upstream(host)), nil
}

func isHTTP(u *url.URL) bool { return (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" }

// upstream is the registry itself.
func (c *Client) upstream(host string) endpoint {
	e := endpoint{host: host, name: host, lax: c.isInsecure(host)}
	if host == dockerHost {
		e.host = dockerEndpoint
	}
	return e
}

// isInsecure looks a host up in Insecure. Names are compared as they are, not by what DNS says of them: an answer of
// DNS must not be able to take the protection away.
func (c *Client) isInsecure(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	address, err := netip.ParseAddr(name)
	isAddress := err == nil
	if name == localhost || isAddress && address.Unmap().IsLoopback() {
		return true
	}
	for _, entry := range c.Insecure {
		if strings.EqualFold(entry, host) {
			return true
		}
		if prefix, err := netip.ParsePrefix(entry); err == nil && isAddress && prefix.Contains(address.Unmap()) {
			return true
		}
	}
	return false
}

// String returns the endpoint's role and name, for errors.
func (e *endpoint) String() string {
	if e.mirror {
		return "mirror " + e.name
	}
	return "registry " + e.name
}

// url returns the address of path, which begins behind /v2/.
func (e *endpoint) url(scheme, path string, query url.Values) *url.URL {
	return &url.URL{Scheme: scheme, Host: e.host, Path: e.prefix + "/v2/" + path, RawQuery: query.Encode()}
}

// schemesFor returns the schemes to try, in order.
func (c *Client) schemesFor(e *endpoint) []string {
	if e.scheme != "" {
		return []string{e.scheme}
	}
	if !e.lax {
		return []string{"https"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.schemes[e.host]; s != "" {
		return []string{s}
	}
	return []string{"https", "http"}
}

func (c *Client) learnScheme(e *endpoint, scheme string) {
	if !e.lax || e.scheme != "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schemes[e.host] = scheme
}
