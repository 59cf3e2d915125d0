package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newClientCertificate makes a certificate and writes it as NAME.cert and NAME.key.
func newClientCertificate(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	kb, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".cert"),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}), 0o600))
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

// onHost makes a server's address one that is not this machine's by name, so that certificates are verified: the client
// is led to it whatever it asks for.
func onHost(t *testing.T, servers map[string]*httptest.Server) *http.Client {
	t.Helper()
	tr := newTransport()
	tr.Proxy = nil
	tr.DialContext = dialTo(servers)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestCertsDir(t *testing.T) {
	dir := t.TempDir()
	// The name that httptest's certificate is for.
	const host, elsewhere = "example.com", "sub.example.com"
	mine := filepath.Join(dir, host)
	require.NoError(t, os.Mkdir(mine, 0o755))
	client := newClientCertificate(t, mine, "client")
	var shown atomic.Int32
	cdn := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Add(int32(len(r.TLS.PeerCertificates)))
		_, _ = w.Write([]byte("{}"))
	}))
	cdn.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	cdn.StartTLS()
	defer cdn.Close()
	pool := x509.NewCertPool()
	pool.AddCert(client)
	redirect := atomic.Bool{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if redirect.Load() {
			u := url.URL{Scheme: "https", Host: elsewhere, Path: "/x"}
			http.Redirect(w, r, u.String(), http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write([]byte("{}"))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	defer s.Close()
	servers := map[string]*httptest.Server{host: s, elsewhere: cdn}
	ping := func() error {
		c := &Client{HTTP: onHost(t, servers), CertsDir: dir, Retries: -1}
		defer c.CloseIdleConnections()
		return c.Ping(t.Context(), host)
	}
	require.ErrorContains(t, ping(), "certificate", "the authority is not known")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	require.NoError(t, os.WriteFile(filepath.Join(mine, "ca.crt"), ca, 0o600))
	require.NoError(t, ping())

	// The authority is not trusted for another host, and when that one's is, it sees no certificate.
	redirect.Store(true)
	require.ErrorContains(t, ping(), "certificate")
	other := filepath.Join(dir, elsewhere)
	require.NoError(t, os.Mkdir(other, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(other, "ca.crt"), ca, 0o600))
	require.NoError(t, ping())
	require.Zero(t, shown.Load())
	redirect.Store(false)

	for name, words := range map[string]string{"x.cert": "x.key beside", "x.key": "x.cert beside", "x.crt": "no certificate"} {
		path := filepath.Join(mine, name)
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		require.ErrorContains(t, ping(), words)
		require.NoError(t, os.Remove(path))
	}
	require.NoError(t, os.Remove(filepath.Join(mine, "client.key")))
	require.NoError(t, os.Remove(filepath.Join(mine, "client.cert")))
	require.Error(t, ping(), "without its certificate")
}

// TestCertsDirOfOneHost: a pool that the caller's transport has does not get the authorities of single hosts.
func TestCertsDirOfOneHost(t *testing.T) {
	dir := t.TempDir()
	const host, elsewhere = "example.com", "sub.example.com"
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer s.Close()
	require.NoError(t, os.Mkdir(filepath.Join(dir, host), 0o755))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	require.NoError(t, os.WriteFile(filepath.Join(dir, host, "ca.crt"), ca, 0o600))
	h := onHost(t, map[string]*httptest.Server{host: s, elsewhere: s})
	h.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	c := &Client{HTTP: h, CertsDir: dir, Retries: -1}
	defer c.CloseIdleConnections()
	require.NoError(t, c.Ping(t.Context(), host))
	require.ErrorContains(t, c.Ping(t.Context(), elsewhere), "certificate")
}

func dialTo(servers map[string]*httptest.Server) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, servers[host].Listener.Addr().String())
	}
}
