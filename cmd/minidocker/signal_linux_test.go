package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A host is a minidocker with a root folder of its own and an image.
type host struct {
	t       *testing.T
	command string
	root    string
	image   string
}

func newHost(t *testing.T) *host {
	t.Helper()
	testenv.ReapOrphans(t) // a guardian outlives its minidocker by a moment
	h := &host{t: t, image: newRegistry(t) + "/busybox", command: newCommand(t), root: t.TempDir()}
	h.output("pull", "-q", h.image)
	return h
}

func (h *host) cmd(args ...string) *exec.Cmd {
	c := exec.Command(h.command, args...)
	c.Env = append(os.Environ(), "CAISSON_ROOT="+h.root)
	return c
}

func (h *host) output(args ...string) string {
	h.t.Helper()
	out, err := h.cmd(args...).CombinedOutput()
	require.NoError(h.t, err, "%s", out)
	return string(out)
}

// start runs a container and returns when it has written its first line.
func (h *host) start(args ...string) (c *exec.Cmd, rest *bufio.Reader) {
	h.t.Helper()
	c = h.cmd(append([]string{"run"}, args...)...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, c.Start())
	rest = bufio.NewReader(out)
	line, err := rest.ReadString('\n')
	require.NoError(h.t, err)
	require.Equal(h.t, "ready\n", line)
	return c, rest
}

func TestSignalsReachTheCommand(t *testing.T) {
	h := newHost(t)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGQUIT} {
		if signal.Ignored(s) { // under nohup, which minidocker respects
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			c, out := h.start("--rm", h.image, "sh", "-c",
				`for s in INT TERM HUP USR1 QUIT; do trap "echo $s; exit 7" $s; done; echo ready; while :; do sleep 0.05; done`)
			require.NoError(t, c.Process.Signal(s))
			got, err := io.ReadAll(out)
			require.NoError(t, err)
			require.Equal(t, 7, waitStatus(t, c))
			require.Contains(t, "SIG"+strings.TrimSpace(string(got)), map[syscall.Signal]string{
				syscall.SIGINT: "SIGINT", syscall.SIGTERM: "SIGTERM", syscall.SIGHUP: "SIGHUP", syscall.SIGUSR1: "SIGUSR1",
				syscall.SIGQUIT: "SIGQUIT",
			}[s])
		})
	}
	require.Empty(t, h.output("ps", "-a", "-q"), "--rm removes after a signal, too")
}

// A command without a handler does not hear SIGTERM as process 1. Who insists is heard.
func TestThirdSignalKills(t *testing.T) {
	h := newHost(t)
	c, _ := h.start("--rm", h.image, "sh", "-c", "echo ready; exec sleep 100")
	for range 3 {
		require.NoError(t, c.Process.Signal(syscall.SIGTERM))
		time.Sleep(50 * time.Millisecond)
	}
	require.Equal(t, 137, waitStatus(t, c))
	require.Empty(t, h.output("ps", "-a", "-q"))
}

func TestBrokenPipeStillRemoves(t *testing.T) {
	h := newHost(t)
	c := h.cmd("run", "--rm", "-t", h.image, "yes")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c.Stdout = w
	require.NoError(t, c.Start())
	require.NoError(t, w.Close())
	_, err = r.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, 1, waitStatus(t, c), "of yes, whose terminal is hung up")
	require.Empty(t, h.output("ps", "-a", "-q"))
}

// minidocker is killed: its container dies with it, the next command says so, and nothing is left.
func TestKilled(t *testing.T) {
	h := newHost(t)
	c, _ := h.start("--name", "victim", "-v", "volume:/v", h.image, "sh", "-c",
		"(sleep 1000 &) ; echo ready; exec sleep 1000")
	id := strings.TrimSpace(h.output("ps", "-q", "--no-trunc"))
	gone, _ := h.start("--rm", "--name", "gone", h.image, "sh", "-c", "echo ready; exec sleep 1000")
	groups, err := filepath.Glob("/sys/fs/cgroup/*/caisson-" + id[:12])
	require.NoError(t, err)
	mine, err := filepath.Glob("/sys/fs/cgroup/*/*/*/caisson-" + id[:12])
	require.NoError(t, err)
	groups = append(groups, mine...)
	require.NotEmpty(t, groups)

	require.NoError(t, c.Process.Kill())
	require.NoError(t, gone.Process.Kill())
	require.Equal(t, -1, waitStatus(t, c))
	require.Equal(t, -1, waitStatus(t, gone))
	require.Contains(t, h.output("ps", "-a"), "Exited (137)")
	require.NotContains(t, h.output("ps", "-a"), "gone")
	require.Empty(t, h.output("ps", "-q"))
	require.Contains(t, h.output("inspect", "victim"), "ended with the program that ran it")
	require.Eventually(t, func() bool {
		for _, g := range groups {
			if _, err := os.Stat(g); err == nil {
				return false
			}
		}
		return true
	}, time.Minute, 20*time.Millisecond, "its control groups are gone")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.False(t, bytes.Contains(mounts, []byte(h.root)))
	h.output("rm", "victim")
	tmp, err := os.ReadDir(filepath.Join(h.root, "tmp"))
	require.NoError(t, err)
	require.Empty(t, tmp)
}

// Root in a container can open a descriptor's file anew: it must not be one of the host's.
func TestHostFilesAreHidden(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(in, []byte("input\n"), 0o644))
	stdin, err := os.Open(in)
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer stdout.Close()
	c := h.cmd("run", "-i", "--rm", h.image, "sh", "-c", "cat; echo evil >/proc/self/fd/0; echo done")
	c.Stdin, c.Stdout = stdin, stdout
	require.NoError(t, c.Run())
	b, err := os.ReadFile(in)
	require.NoError(t, err)
	require.Equal(t, "input\n", string(b))
	b, err = os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "input\ndone\n", string(b))
}
