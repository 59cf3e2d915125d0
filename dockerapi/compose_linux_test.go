package dockerapi

import (
	"bufio"
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

// project is what compose is given: two networks, one of which is internal and comes first by its name, a volume, and what else people write.
const project = `
version: "3.8"
services:
  web:
    image: IMAGE
    command: ["sh", "-c", "cat /conf/greeting >/data/index.html; echo $$NAME is up; exec busybox httpd -f -p 8080 -h /data"]
    environment: {NAME: web}
    volumes: ["data:/data", "./conf:/conf:ro"]
    ports: ["127.0.0.1::8080"]
    networks: {front: {aliases: [www]}, back: {}}
    restart: unless-stopped
    stop_signal: KILL
    extra_hosts: ["other:192.0.2.7"]
    mem_limit: 64m
  client:
    image: IMAGE
    command: ["sh", "-c", "trap 'exit 3' TERM; until wget -q -O - http://www:8080/; do sleep 0.1; done; while :; do sleep 0.05; done"]
    depends_on: [web]
    networks: [front]
    init: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    ulimits: {nofile: {soft: 100, hard: 200}}
    tmpfs: ["/run:size=1m"]
    read_only: true
    labels: {tier: test}
volumes:
  data: {labels: {of: project}}
networks:
  front: {}
  back: {internal: true, ipam: {config: [{subnet: 10.77.0.0/24}]}}
`

// A composer runs Debian's docker-compose for a project at a peer.
type composer struct {
	*peer
	dir string
}

func (c *composer) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.Context(), "docker-compose", append([]string{"--ansi", "never", "-p", "proj"}, args...)...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+c.socket, "DOCKER_CONFIG="+c.config, "HOME="+c.config, "COMPOSE_HTTP_TIMEOUT=600")
	return cmd
}

// do runs compose, which is to end with the status, and returns what it prints on its standard output.
func (c *composer) do(status int, args ...string) string {
	c.Helper()
	var out, diag bytes.Buffer
	cmd := c.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	_ = cmd.Run()
	require.Equal(c, status, cmd.ProcessState.ExitCode(), "docker-compose %s: %s%s", strings.Join(args, " "), &out, &diag)
	return out.String()
}

// follow runs compose until the test ends, and returns a function that waits until it has printed something.
func (c *composer) follow(args ...string) (await func(text string)) {
	c.Helper()
	cmd := c.command(args...)
	cmd.Env = append(cmd.Env, "PYTHONUNBUFFERED=1")
	pipe, err := cmd.StdoutPipe()
	require.NoError(c, err)
	require.NoError(c, cmd.Start())
	c.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := bufio.NewReader(pipe)
	return func(text string) {
		c.Helper()
		for line := ""; !strings.Contains(line, text); {
			var err error
			line, err = r.ReadString('\n')
			require.NoError(c, err, text)
		}
	}
}

// TestCompose is a project's life by Debian's docker-compose, as it is.
func TestCompose(t *testing.T) {
	if testing.Short() {
		t.Skip("a program in Python, a dozen times")
	}
	testenv.RequireCommand(t, "docker-compose")
	p := newPeer(t)
	img := testimage.New(t, ocispec.ImageConfig{Cmd: []string{"sh"}}, testimage.Busybox(t))
	server := httptest.NewServer(&registry.Server{Store: testimage.Store{"busybox:latest": img}})
	defer server.Close()
	c := &composer{peer: p, dir: t.TempDir()}
	text := strings.ReplaceAll(project, "IMAGE", strings.TrimPrefix(server.URL, "http://")+"/busybox")
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "docker-compose.yml"), []byte(text), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(c.dir, "conf"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "conf/greeting"), []byte("hello\n"), 0o644))

	events := c.follow("events")
	c.do(0, "up", "-d", "--scale", "client=2")
	events("container start")
	p.awaitLog("proj_client_1", "hello\n")
	logs := c.do(0, "logs", "--no-color")
	require.Contains(t, logs, "web_1     | web is up\n")
	require.Contains(t, logs, "client_1  | hello\n")
	require.Regexp(t, `proj_client_1 .* Up .*\n(.*\n)*proj_client_2 .* Up .*\n(.*\n)*proj_web_1 .* Up .* 127\.0\.0\.1:\d+->8080/tcp`, c.do(0, "ps"))
	log := c.follow("logs", "-f", "--no-color", "web")
	require.Equal(t, "192.0.2.7\tother\n", c.do(0, "exec", "-T", "web", "sh", "-c", "echo again >/proc/1/fd/1; grep other /etc/hosts"))
	log("web_1     | again\n")
	require.Equal(t, "200\n", c.do(5, "exec", "-T", "--index", "2", "client", "sh", "-c", "ulimit -Hn; exit 5"))
	require.Equal(t, "hello\n", c.do(0, "run", "--rm", "-T", "client", "busybox", "wget", "-q", "-O", "-", "http://proj_web_1:8080"))
	require.Contains(t, c.do(0, "top", "web"), "busybox httpd -f -p 8080")

	// What has not changed is left as it is, what has is made anew with its volume.
	ids := func() string {
		return p.docker("ps", "-q", "--no-trunc", "--filter", "name=^proj_web_1$", "--filter", "name=^proj_client_1$")
	}
	before := strings.Fields(ids())
	require.Len(t, before, 2)
	changed := strings.Replace(text, "NAME: web", "NAME: web2", 1)
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "docker-compose.yml"), []byte(changed), 0o600))
	c.do(0, "up", "-d")
	require.Contains(t, ids(), before[0], "the client")
	require.NotContains(t, ids(), before[1], "the server")
	p.awaitLog("proj_web_1", "web2 is up\n")

	c.do(0, "pause", "web")
	require.Equal(t, "paused\n", p.docker("inspect", "-f", "{{.State.Status}}", "proj_web_1"))
	c.do(0, "unpause", "web")
	c.do(0, "restart", "-t", "60", "client")
	p.awaitLog("proj_client_1", "hello\nhello\n")
	c.do(0, "kill", "-s", "TERM", "client")
	require.Equal(t, "3\n", p.docker("wait", "proj_client_1"))
	c.do(0, "stop")
	c.do(0, "down", "-v")
	require.Empty(t, p.docker("ps", "-aq")+p.docker("volume", "ls", "-q")+p.docker("network", "ls", "-q", "--filter", "type=custom"))
}
