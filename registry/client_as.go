package registry

import (
	"context"
	"strings"
)

// As returns a client with the settings of c that shows cred to the registry host, as references name it, and no credential to
// others, mirrors included. It shares no tokens and no cookies with c, and connections if c.HTTP is set.
func (c *Client) As(host string, cred Credential) *Client {
	a := c.like()
	if c.HTTP != nil {
		without := *c.HTTP
		without.Jar = nil // a registry may know by a cookie who it was
		a.HTTP = &without
	}
	a.Credentials = func(_ context.Context, asked string) (Credential, error) {
		if asked != host {
			return Credential{}, nil
		}
		return cred, nil
	}
	return a
}

// like returns a client with the settings of c but for HTTP and Credentials.
func (c *Client) like() *Client {
	return &Client{
		Mirrors: c.Mirrors, Insecure: c.Insecure, CertsDir: c.CertsDir, UserAgent: c.UserAgent,
		MaxManifestSize: c.MaxManifestSize, Retries: c.Retries, ResponseTimeout: c.ResponseTimeout,
		StallTimeout: c.StallTimeout, Ranges: c.Ranges, ChunkSize: c.ChunkSize,
		rangeUnit: c.rangeUnit, firstBackoff: c.firstBackoff, nobody: c.nobody,
	}
}

// HostOf returns the host, as references name it, of a registry as docker login names it: of a URL the host counts, and nothing,
// "index.docker.io" and "registry-1.docker.io" are "docker.io".
func HostOf(address string) string {
	host := address
	if _, after, ok := strings.Cut(host, "://"); ok {
		host = after
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", dockerLegacyHost, dockerEndpoint:
		return dockerHost
	}
	return host
}
