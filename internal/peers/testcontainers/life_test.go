package testcontainers

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
	tc "github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

// serve is a shell's program: a server of HTTP, which says so.
const serve = `mkdir -p /www; echo hello >/www/index.html; busybox httpd -p 8080 -h /www; echo listening; touch /ready; sleep 1000`

func run(t *testing.T, program string, more ...tc.ContainerCustomizer) *tc.DockerContainer {
	t.Helper()
	c, err := tc.Run(t.Context(), image, append([]tc.ContainerCustomizer{
		tc.WithCmd("sh", "-c", program), tc.WithHostConfigModifier(func(h *container.HostConfig) { h.Init = new(true) }),
	}, more...)...)
	tc.CleanupContainer(t, c, tc.StopTimeout(0))
	require.NoError(t, err)
	return c
}

func execute(t *testing.T, c tc.Container, args ...string) string {
	t.Helper()
	code, out, err := c.Exec(t.Context(), args, exec.Multiplexed())
	require.NoError(t, err)
	text, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Zero(t, code, "%v: %s", args, text)
	return string(text)
}

// TestWait is each manner in which a container is waited for.
func TestWait(t *testing.T) {
	strategies := map[string]wait.Strategy{
		"port": wait.ForListeningPort("8080/tcp"), "log": wait.ForLog("listening"), "exec": wait.ForExec([]string{"test", "-e", "/ready"}),
		"health": wait.ForHealthCheck(), "http": wait.ForHTTP("/").WithPort("8080/tcp"), "file": wait.ForFile("/ready"),
	}
	c := run(t, serve, tc.WithExposedPorts("8080/tcp"), tc.WithConfigModifier(func(c *container.Config) {
		c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "test", "-e", "/ready"}, Interval: 100 * time.Millisecond}
	}), tc.WithWaitStrategyAndDeadline(time.Minute, wait.ForAll(
		strategies["port"], strategies["log"], strategies["exec"], strategies["health"], strategies["http"], strategies["file"])))
	url, err := c.PortEndpoint(t.Context(), "8080/tcp", "http")
	require.NoError(t, err)
	answer, err := http.Get(url)
	require.NoError(t, err)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(text))
	require.NoError(t, answer.Body.Close())

	ended := run(t, "exit 3", tc.WithWaitStrategy(wait.ForExit()))
	state, err := ended.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, state.ExitCode)
}

// A heard is what a container has said.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) Accept(l tc.Log) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, l.LogType+": "+string(l.Content))
}

func (h *heard) has(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.all, func(s string) bool { return strings.Contains(s, text) })
}

// TestFollow hears what a container says while it runs.
func TestFollow(t *testing.T) {
	h := &heard{}
	c := run(t, "echo good; echo bad >&2; until test -e /end; do sleep 0.1; done", tc.WithLogConsumers(h))
	require.Eventually(t, func() bool { return h.has("STDOUT: good") && h.has("STDERR: bad") }, time.Minute, 10*time.Millisecond)
	execute(t, c, "touch", "/end") // who follows a container that runs on is given five seconds to end
}

// TestLife copies in and out, executes, and stops and starts.
func TestLife(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "one"), []byte("1\n"), 0o600))
	c := run(t, "cat /etc/given; exec sleep 1000", tc.WithEnv(map[string]string{"A": "b"}), tc.WithFiles(
		tc.ContainerFile{Reader: strings.NewReader("given\n"), ContainerFilePath: "/etc/given", FileMode: 0o640},
		tc.ContainerFile{HostFilePath: filepath.Join(dir, "one"), ContainerFilePath: "/one", FileMode: 0o600},
	), tc.WithTmpfs(map[string]string{"/scratch": "rw,size=1m"}), tc.WithMounts(tc.VolumeMount("tc-data", "/data")),
		tc.WithWaitStrategy(wait.ForLog("given")), tc.WithAfterReadyCommand(tc.NewRawCommand([]string{"touch", "/after"})))
	require.Equal(t, "640 600 b\n", execute(t, c, "sh", "-c", `echo $(stat -c %a /etc/given) $(stat -c %a /one) $A; test -e /after`))
	require.NoError(t, c.CopyDirToContainer(t.Context(), dir, "/"+filepath.Base(dir), 0o755))
	require.NoError(t, c.CopyToContainer(t.Context(), []byte("two\n"), "/data/two", 0o644))
	require.Equal(t, "1\ntwo\n", execute(t, c, "sh", "-c", "cat /*/one /data/two"))
	from, err := c.CopyFileFromContainer(t.Context(), "/data/two")
	require.NoError(t, err)
	text, err := io.ReadAll(from)
	require.NoError(t, err)
	require.Equal(t, "two\n", string(text))

	require.NoError(t, c.Stop(t.Context(), new(time.Duration)))
	require.False(t, c.IsRunning())
	require.NoError(t, c.Start(t.Context()))
	require.Eventually(t, func() bool { // what was printed before is there as well
		logs, err := c.Logs(t.Context())
		require.NoError(t, err)
		text, err := io.ReadAll(logs)
		require.NoError(t, err)
		require.NoError(t, logs.Close())
		return strings.Count(string(text), "given\n") == 2
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, c.Terminate(t.Context(), tc.StopTimeout(0), tc.RemoveVolumes("tc-data")))
	_, err = c.Inspect(t.Context())
	require.ErrorContains(t, err, "No such container")
}

// TestNetwork has one container find the other by its alias.
func TestNetwork(t *testing.T) {
	n, err := network.New(t.Context())
	require.NoError(t, err)
	tc.CleanupNetwork(t, n)
	server := run(t, serve, network.WithNetwork([]string{"web"}, n), tc.WithWaitStrategy(wait.ForLog("listening")))
	aliases, err := server.NetworkAliases(t.Context())
	require.NoError(t, err)
	require.Contains(t, aliases[n.Name], "web")
	ip, err := server.ContainerIP(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, ip)
	client := run(t, "sleep 1000", network.WithNetwork(nil, n))
	require.Equal(t, "hello\n", execute(t, client, "busybox", "wget", "-q", "-O-", "http://web:8080/"))
	names, err := client.Networks(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{n.Name}, names)
}

// TestReuse gets the container that is there.
func TestReuse(t *testing.T) {
	one := run(t, "sleep 1000", tc.WithReuseByName("reused"))
	other := run(t, "sleep 1000", tc.WithReuseByName("reused"))
	require.Equal(t, one.GetContainerID(), other.GetContainerID())
}

// TestBuild makes the image of a container from a Dockerfile.
func TestBuild(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("ARG FROM\nFROM $FROM\nRUN echo built >/built\n"), 0o600))
	c, err := tc.Run(context.WithoutCancel(t.Context()), "", tc.WithDockerfile(tc.FromDockerfile{Context: dir, BuildArgs: map[string]*string{"FROM": &image}}),
		tc.WithCmd("cat", "/built"), tc.WithWaitStrategy(wait.ForLog("built").WithStartupTimeout(time.Minute)))
	tc.CleanupContainer(t, c)
	require.NoError(t, err)
}

// TestLeft leaves a container and a network behind: what cleans up removes them.
func TestLeft(t *testing.T) {
	n, err := network.New(t.Context())
	require.NoError(t, err)
	_, err = tc.Run(t.Context(), image, tc.WithCmd("sleep", "1000"), tc.WithName("left"), network.WithNetwork(nil, n))
	require.NoError(t, err)
}
