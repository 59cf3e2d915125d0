package dockerapi

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
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign writes a certificate and its key to files.
func (a *authority) sign(dir, name string, of *x509.Certificate) (cert, key string) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	of.SerialNumber, of.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	of.NotBefore, of.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = of, k
	}
	der, err := x509.CreateCertificate(rand.Reader, of, parent, &k.PublicKey, by)
	require.NoError(a.t, err)
	kb, err := x509.MarshalECPrivateKey(k)
	require.NoError(a.t, err)
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	require.NoError(a.t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(a.t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}), 0o600))
	if a.cert == nil {
		a.key = k
		a.cert, err = x509.ParseCertificate(der)
		require.NoError(a.t, err)
	}
	return cert, key
}

// TestListenTLS: by TCP nobody is answered who has no certificate of the authority's.
func TestListenTLS(t *testing.T) {
	dir := t.TempDir()
	ca := &authority{t: t}
	caFile, _ := ca.sign(dir, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	cert, key := ca.sign(dir, "server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	mine, mineKey := ca.sign(dir, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	other := &authority{t: t}
	other.sign(dir, "other-ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	theirs, theirsKey := other.sign(dir, "other-client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})

	l, err := Listen(t.Context(), "tcp://127.0.0.1:0", &ListenOptions{CertFile: cert, KeyFile: key, CAFile: caFile})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Server{}).Serve(ctx, l) }()
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	get := func(pair ...string) (int, error) {
		config := &tls.Config{RootCAs: roots}
		if len(pair) == 2 {
			c, err := tls.LoadX509KeyPair(pair[0], pair[1])
			require.NoError(t, err)
			config.Certificates = []tls.Certificate{c}
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String() + "/_ping")
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	code, err := get(mine, mineKey)
	require.NoError(t, err)
	require.Equal(t, 200, code)
	_, err = get()
	require.Error(t, err)
	_, err = get(theirs, theirsKey)
	require.Error(t, err)
	cancel()
	require.NoError(t, <-done)
}
