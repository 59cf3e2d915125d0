package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A hostTransport gives each host the certificates that are meant for it: a redirect elsewhere is neither shown a client
// certificate nor trusted for the sake of a private authority.
type hostTransport struct {
	base http.RoundTripper
	dir  string

	nobody bool // shows no client certificate

	mu     sync.Mutex
	byHost map[string]*http.Transport // nil for a host without a folder
}

// RoundTrip implements http.RoundTripper.
func (h *hostTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !validHost(r.URL.Host) {
		return h.base.RoundTrip(r)
	}
	t, err := h.transport(r.URL.Host)
	if err != nil {
		return nil, refuse("certificates of %s: %w", r.URL.Host, err)
	}
	if t == nil {
		return h.base.RoundTrip(r)
	}
	return t.RoundTrip(r)
}

// CloseIdleConnections does what its name says for all hosts.
func (h *hostTransport) CloseIdleConnections() {
	if c, ok := h.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.byHost {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

func (h *hostTransport) transport(host string) (*http.Transport, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t, ok := h.byHost[host]; ok {
		return t, nil
	}
	entries, err := os.ReadDir(filepath.Join(h.dir, host))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		h.byHost[host] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	base, ok := h.base.(*http.Transport)
	if !ok {
		return nil, errors.New("Client.HTTP's Transport is not an *http.Transport, and so takes none")
	}
	t := base.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	if err := loadCertificates(t.TLSClientConfig, filepath.Join(h.dir, host), entries); err != nil {
		return nil, err
	}
	if h.nobody {
		t.TLSClientConfig.Certificates = nil
	}
	h.byHost[host] = t
	return t, nil
}

// loadCertificates reads a folder as Docker does: NAME.crt are authorities that are trusted besides the system's,
// NAME.cert with NAME.key a client's certificate.
func loadCertificates(c *tls.Config, dir string, entries []fs.DirEntry) error {
	// The configuration is a copy, but not what it refers to: that is the other hosts', too.
	if c.RootCAs != nil {
		c.RootCAs = c.RootCAs.Clone()
	}
	c.Certificates = slices.Clip(c.Certificates)
	has := map[string]bool{}
	for _, e := range entries {
		has[e.Name()] = true
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		base, ext := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), filepath.Ext(e.Name())
		switch ext {
		case ".crt":
			if c.RootCAs == nil {
				pool, err := x509.SystemCertPool()
				if err != nil {
					pool = x509.NewCertPool()
				}
				c.RootCAs = pool
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !c.RootCAs.AppendCertsFromPEM(b) {
				return fmt.Errorf("%s: no certificate in it", path)
			}
		case ".cert":
			if !has[base+".key"] {
				return fmt.Errorf("%s has no %s.key beside it (authorities end in .crt)", path, base)
			}
			pair, err := tls.LoadX509KeyPair(path, filepath.Join(dir, base+".key"))
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			c.Certificates = append(c.Certificates, pair)
		case ".key":
			if !has[base+".cert"] {
				return fmt.Errorf("%s has no %s.cert beside it", path, base)
			}
		}
	}
	return nil
}
