package main

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestDaemon: the docker command runs hello-world by the daemon, which supervises the folder, lets containers go on when it ends, and finds
// them again.
func TestDaemon(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "docker")
	testenv.ReapOrphans(t)
	command, root := newCommand(t), t.TempDir()
	socket := filepath.Join(t.TempDir(), "s")
	run := func(name string, args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), name, args...)
		c.Env = append(os.Environ(), "CAISSON_ROOT="+root, "DOCKER_HOST=unix://"+socket, "DOCKER_CONFIG="+t.TempDir())
		out, err := c.CombinedOutput()
		return string(out), err
	}
	must := func(name string, args ...string) string {
		t.Helper()
		out, err := run(name, args...)
		require.NoError(t, err, "%s %v: %s", name, args, out)
		return out
	}
	start := func() *exec.Cmd {
		c := exec.Command(command, "--root", root, "daemon", "-H", "unix://"+socket)
		c.Stderr = os.Stderr
		if !testing.Verbose() {
			c.Stderr = nil
		}
		require.NoError(t, c.Start())
		require.Eventually(t, func() bool {
			n, err := net.Dial("unix", socket)
			return err == nil && n.Close() == nil
		}, time.Minute, 5*time.Millisecond)
		return c
	}
	end := func(c *exec.Cmd) {
		t.Helper()
		require.NoError(t, c.Process.Signal(syscall.SIGTERM))
		_ = c.Wait()
		require.NoFileExists(t, socket)
	}
	must(command, "pull", "-q", "hello-world")
	daemon := start()
	st, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, st.Mode())
	require.Contains(t, must("docker", "run", "--rm", "hello-world"), "Hello from")
	require.Empty(t, must("docker", "ps", "-aq"))

	// One that other programs of the folder start is seen, too, and its policy is the daemon's to follow.
	id := strings.TrimSpace(must(command, "run", "-d", "--restart", "on-failure:1", "--name", "again", "hello-world"))
	require.Equal(t, "0\n", must("docker", "wait", "again"))
	require.Equal(t, id+"\n", must("docker", "ps", "-aq", "--no-trunc", "--filter", "status=exited"))
	out, err := run(command, "daemon", "-H", "unix://"+socket)
	require.Error(t, err)
	require.Contains(t, out, "somebody listens")
	end(daemon)
	daemon = start()
	require.Contains(t, must("docker", "logs", "again"), "Hello from")
	must("docker", "rm", "again")
	end(daemon)
}

// TestDaemonTCP: no address but a loopback's, and that by its own flag alone, is served without certificates.
func TestDaemonTCP(t *testing.T) {
	testenv.RequireRoot(t)
	command, root := newCommand(t), t.TempDir()
	for _, args := range [][]string{{"-H", "tcp://127.0.0.1:0"}, {"-H", "tcp://0.0.0.0:0", "--insecure-loopback"}} {
		out, err := exec.Command(command, append([]string{"--root", root, "daemon"}, args...)...).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "takes certificates")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	c := exec.Command(command, "--root", root, "daemon", "-H", "tcp://"+address, "--insecure-loopback")
	require.NoError(t, c.Start())
	get := func(host string) int {
		r, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+address+"/_ping", nil)
		require.NoError(t, err)
		r.Host, r.Close = host, true
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	require.Eventually(t, func() bool { return get("") == 200 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 403, get("attacker.example"))
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	_ = c.Wait()
}
