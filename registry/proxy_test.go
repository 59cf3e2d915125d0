package registry

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// playPinger asks a registry whether it is one, as a user whose password is "hush": what net/http knows of proxies it
// reads once a process.
func playPinger(args []string) int {
	c := &Client{CertsDir: args[2], Retries: -1, Credentials: func(context.Context, string) (Credential, error) {
		return Credential{Username: "user", Password: "hush"}, nil
	}}
	defer c.CloseIdleConnections()
	if err := c.Ping(context.Background(), args[1]); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// A proxy tunnels to one address, whatever is asked for, and notes what it sees.
type proxy struct {
	to   string
	mu   sync.Mutex
	seen []string
	auth []string // Authorization headers
	mine []string // Proxy-Authorization headers
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Method+" "+r.Host)
	p.auth = append(p.auth, r.Header.Values("Authorization")...)
	p.mine = append(p.mine, r.Header.Values("Proxy-Authorization")...)
	p.mu.Unlock()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, buffered); _ = to.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(from, to)
}

// TestProxy is that the proxy of the environment is used, and that neither side sees what is for the other.
func TestProxy(t *testing.T) {
	var headers []http.Header
	asked := false
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header)
		if asked = r.Header.Get("Authorization") != ""; !asked {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	p := &proxy{to: s.Listener.Addr().String()}
	host := newServer(t, p)
	certs := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(certs, "example.com"), 0o700))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	require.NoError(t, os.WriteFile(filepath.Join(certs, "example.com", "ca.crt"), ca, 0o600))
	self, err := os.Executable()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "registry-pinger")
	require.NoError(t, os.Symlink(self, name))
	ping := func(env ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, "example.com", certs)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := ping("HTTPS_PROXY=http://me:mine@" + host)
	require.NoError(t, err, out)
	require.True(t, asked)
	require.Contains(t, p.seen, "CONNECT example.com:443")
	require.Empty(t, p.auth, "the registry's credential is not the proxy's")
	require.NotEmpty(t, p.mine)
	for _, h := range headers {
		require.Empty(t, h.Get("Proxy-Authorization"))
	}
	p.seen = nil
	_, err = ping("HTTPS_PROXY=http://"+host, "NO_PROXY=example.com,127.0.0.1")
	require.Error(t, err, "there is no such registry")
	require.Empty(t, p.seen)
}
