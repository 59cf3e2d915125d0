package dockerapi

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/registry"
)

// warmUp has the process make what it makes once and keeps.
func warmUp() {
	testenv.Lazy("guardian", func() error {
		w := &namespace.Ward{}
		if err := w.Register(); err != nil {
			return err
		}
		return w.Release()
	})
	testenv.Lazy("keepers' program, template namespace", func() error {
		dir, err := os.MkdirTemp("", "warm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		_ = container.New(namespace.Dir(dir), "/nothing").Run(context.Background())
		kept := container.New(namespace.Dir(dir), "/nothing")
		kept.NoCgroup, kept.Keep = true, &container.Keep{Dir: dir}
		_ = kept.Run(context.Background())
		return nil
	})
}

// A peer is a server at a Unix socket, with an engine and its supervisor, and the docker command as its client.
type peer struct {
	*testing.T
	e      *engine.Engine
	s      *Server
	socket string
	config string // the command's folder
	netns  string // where ports are published
}

// newPeer starts a server. When the test ends, all containers are removed.
func newPeer(t *testing.T) *peer {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "docker")
	testenv.ReapOrphans(t) // keepers are
	netns := testenv.NewNetns(t)
	e, err := engine.Open(t.Context(), t.TempDir(), &engine.Options{NetworkNamespace: netns})
	require.NoError(t, err)
	p := &peer{T: t, e: e, netns: netns, s: &Server{Engine: e, Version: "9.8.7", statsEvery: 50 * time.Millisecond}, socket: filepath.Join(t.TempDir(), "api.sock"), config: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	ready, supervised, served := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	go func() {
		supervised <- e.Supervise(ctx, &engine.SuperviseOptions{Ends: true, Ready: func() { close(ready) }})
	}()
	<-ready
	l, err := Listen(ctx, "unix://"+p.socket, nil)
	require.NoError(t, err)
	go func() { served <- p.s.Serve(ctx, l) }()
	t.Cleanup(func() {
		list, err := e.List(context.Background())
		require.NoError(t, err)
		for _, c := range list {
			require.NoError(t, e.Remove(context.Background(), c.ID, &engine.RemoveOptions{Force: true, Volumes: true}))
		}
		cancel()
		require.NoError(t, <-served)
		require.NoError(t, <-supervised)
		require.NoError(t, e.Close())
		require.NoFileExists(t, p.socket)
	})
	return p
}

// busybox pulls an image with a shell, and returns its name.
func (p *peer) busybox() string {
	p.Helper()
	img := testimage.New(p.T, ocispec.ImageConfig{Cmd: []string{"sh"}}, testimage.Busybox(p.T))
	server := httptest.NewServer(&registry.Server{Store: testimage.Store{"busybox:latest": img}})
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/busybox"
	_, err := p.e.Pull(p.Context(), ref, nil)
	require.NoError(p, err)
	require.NoError(p, p.e.Tag(p.Context(), ref, "busybox"))
	return "busybox"
}

// command is the docker command with the server as its daemon.
func (p *peer) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(p.Context(), "docker", args...)
	c.Env = append(os.Environ(), "DOCKER_HOST=unix://"+p.socket, "DOCKER_CONFIG="+p.config, "HOME="+p.config, "DOCKER_CLI_HINTS=false")
	return c
}

// docker runs the docker command, which is to succeed, and returns what it prints on its standard output.
func (p *peer) docker(args ...string) string {
	p.Helper()
	out, stderr, err := p.try(args...)
	require.NoError(p, err, "docker %s: %s%s", strings.Join(args, " "), out, stderr)
	return out
}

// try runs the docker command.
func (p *peer) try(args ...string) (stdout, stderr string, err error) {
	var out, diag bytes.Buffer
	c := p.command(args...)
	c.Stdout, c.Stderr = &out, &diag
	err = c.Run()
	return out.String(), diag.String(), err
}

// fails runs the docker command, which is to end with the status, and returns what it prints on its standard error.
func (p *peer) fails(status int, args ...string) string {
	p.Helper()
	out, stderr, err := p.try(args...)
	var exit *exec.ExitError
	require.ErrorAs(p, err, &exit, "docker %s: %s%s", strings.Join(args, " "), out, stderr)
	require.Equal(p, status, exit.ExitCode(), "docker %s: %s%s", strings.Join(args, " "), out, stderr)
	return stderr
}

// client is an HTTP client of the server's; any host is it.
func (p *peer) client() *http.Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", p.socket)
	}}
	p.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func TestDockerVersion(t *testing.T) {
	p := newPeer(t)
	require.Equal(t, "9.8.7\n", p.docker("version", "--format", "{{.Server.Version}}"))
	require.Equal(t, "0 overlay linux\n", p.docker("info", "--format", "{{.Containers}} {{.Driver}} {{.OSType}}"))
	require.Contains(t, p.fails(1, "node", "ls"), "not implemented: swarm")
}
