package dockerapi

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

// answerOf sends a request and reads its answer, which is to have the status.
func (p *peer) answerOf(client *http.Client, method, target, body string, code int) []byte {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), method, "http://x"+target, strings.NewReader(body))
	require.NoError(p, err)
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	require.NoError(p, err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	require.NoError(p, err)
	require.Equal(p, code, a.StatusCode, "%s %s: %s", method, target, b)
	return b
}

// TestDockerUnusual: what the docker command seldom asks for, by old versions of the API and old commands, too, at one server.
func TestDockerUnusual(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	client := p.client()
	p.docker("run", "-d", "--name", "bg", "--network", "none", "-l", "com.docker.compose.project=x", "busybox", "sh", "-c", "echo out; echo file >/file; sleep 1000")
	p.awaitLog("bg", "out\n")

	t.Run("stats", func(t *testing.T) {
		one := &container.StatsResponse{}
		require.NoError(t, json.Unmarshal(p.answerOf(client, "GET", "/containers/bg/stats?stream=0&one-shot=1", "", 200), one))
		require.Equal(t, "/bg", one.Name)
		require.Positive(t, one.MemoryStats.Usage)
		require.Positive(t, one.CPUStats.SystemUsage)
		require.Zero(t, one.PreCPUStats.SystemUsage)
		a, err := client.Get("http://x/containers/bg/stats")
		require.NoError(t, err)
		defer a.Body.Close()
		d := json.NewDecoder(a.Body)
		first, second := &container.StatsResponse{}, &container.StatsResponse{}
		require.NoError(t, d.Decode(first))
		require.NoError(t, d.Decode(second))
		require.Equal(t, first.Read, second.PreRead)
		require.Equal(t, first.CPUStats.SystemUsage, second.PreCPUStats.SystemUsage)
		require.Greater(t, second.CPUStats.SystemUsage, first.CPUStats.SystemUsage)
		p.answerOf(client, "GET", "/containers/nobody/stats", "", 404)
	})

	t.Run("sizes", func(t *testing.T) {
		require.Regexp(t, `^[1-9][0-9.]*kB \(virtual [1-9][0-9.]*MB\)\n$`, p.docker("ps", "-s", "--format", "{{.Size}}"))
		require.NotEqual(t, "<nil> <nil>\n", p.docker("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "bg"))
	})

	t.Run("exec", func(t *testing.T) {
		var made container.ExecCreateResponse
		require.NoError(t, json.Unmarshal(p.answerOf(client, "POST", "/containers/bg/exec",
			`{"Cmd":["sh","-c","while [ \"$(stty size)\" != '33 99' ]; do sleep 0.02; done; exit 6"],"Tty":true}`, 201), &made))
		p.answerOf(client, "POST", "/exec/"+made.ID+"/resize?h=33&w=99", "", 409) // it is not started
		p.answerOf(client, "POST", "/exec/"+made.ID+"/start", `{"Detach":true,"Tty":true}`, 200)
		require.Contains(t, p.docker("inspect", "-f", "{{.ExecIDs}}", "bg"), made.ID)
		p.answerOf(client, "POST", "/exec/"+made.ID+"/start", `{"Detach":true}`, 409)
		p.answerOf(client, "POST", "/exec/"+made.ID+"/resize?h=70000&w=1", "", 400)
		p.answerOf(client, "POST", "/exec/"+made.ID+"/resize?h=33&w=99", "", 200)
		p.awaitEvent("exec_die")
		i := &container.ExecInspectResponse{}
		require.NoError(t, json.Unmarshal(p.answerOf(client, "GET", "/exec/"+made.ID+"/json", "", 200), i))
		require.False(t, i.Running)
		require.Equal(t, 6, *i.ExitCode)
		p.answerOf(client, "POST", "/exec/"+made.ID+"/resize?h=33&w=99", "", 409)
		p.answerOf(client, "POST", "/exec/nobody/resize?h=33&w=99", "", 404)
	})

	t.Run("websocket", func(t *testing.T) {
		p.docker("create", "-i", "--name", "ws", "--network", "none", "busybox", "sh", "-c", "read x; echo $x; echo err >&2; read x")
		attach := func(name, origin string) (*websocket.Conn, error) {
			cfg, err := websocket.NewConfig("ws://localhost/containers/"+name+"/attach/ws?stream=1&stdin=1&stdout=1&stderr=1", origin)
			require.NoError(t, err)
			conn, err := net.Dial("unix", p.socket)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			return websocket.NewClient(cfg, conn)
		}
		p.answerOf(client, "GET", "/containers/ws/attach/ws?stream=1", "", 400)
		for name, origin := range map[string]string{"ws": "http://page.example", "nobody": "http://localhost"} {
			_, err := attach(name, origin)
			require.Error(t, err, name)
		}
		ws, err := attach("ws", "http://localhost")
		require.NoError(t, err)
		p.docker("start", "ws")
		_, err = ws.Write([]byte("spoken\n"))
		require.NoError(t, err)
		out := make([]byte, len("spoken\nerr\n"))
		_, err = io.ReadFull(ws, out)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"spoken", "err", ""}, strings.Split(string(out), "\n"))
		_, err = ws.Write([]byte("over\n"))
		require.NoError(t, err)
		_, err = ws.Read(out)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "0\n", p.docker("wait", "ws"))
		p.docker("rm", "ws")
	})

	t.Run("words", func(t *testing.T) {
		require.Equal(t, "\"sh -c 'echo out; echo file >/file; sleep 1000'\"\n", p.docker("ps", "--no-trunc", "--format", "{{.Command}}"))
		require.Equal(t, "A /file\n", p.docker("diff", "bg"))
		require.Contains(t, p.fails(1, "top", "bg", "-bogus"), "ps -bogus: error: ")
		require.Empty(t, p.docker("plugin", "ls", "-q"))
		require.Equal(t, "box.example.org box\n", p.docker("run", "--rm", "-h", "box", "--domainname", "example.org", "busybox", "sh", "-c", "tail -1 /etc/hosts | cut -f2"))
		// What is missing is not the image: the docker command would pull that.
		for option, missing := range map[string]string{"--network=none-such": "none-such", "--network=container:none-such": "none-such", "--volumes-from=none-such": "none-such"} {
			stderr := p.fails(125, "run", option, "busybox", "true")
			require.Contains(t, stderr, missing)
			require.NotContains(t, stderr, "Unable to find image")
		}
		require.Contains(t, p.fails(125, "run", "localhost:1/none-such", "true"), "Unable to find image")
	})

	// compose finds what is its own by labels.
	t.Run("labels", func(t *testing.T) {
		p.docker("network", "create", "--label", "com.docker.compose.project=x", "x_default")
		p.docker("volume", "create", "--label", "com.docker.compose.project=x", "x_data")
		const mine, other = "label=com.docker.compose.project=x", "label=com.docker.compose.project=y"
		for kind, want := range map[string]string{"container": "bg\n", "network": "x_default\n", "volume": "x_data\n"} {
			format := "{{.Name}}"
			if kind == "container" {
				format = "{{.Names}}"
			}
			require.Equal(t, want, p.docker(kind, "ls", "--filter", mine, "--format", format))
			require.Empty(t, p.docker(kind, "ls", "--filter", other, "--format", format))
		}
	})

	t.Run("images", func(t *testing.T) {
		p.docker("commit", "--change", "LABEL a=b", "bg", "child:1")
		names := func(filter string) string {
			return strings.ReplaceAll(p.docker("images", "--format", "{{.Repository}}", "--filter", filter, "--filter", "reference=busybox", "--filter", "reference=child"), "\n", " ")
		}
		for filter, want := range map[string]string{
			"label=a": "child ", "label=a=b": "child ", "label=a=c": "", "before=child:1": "busybox ", "since=busybox": "child ", "before=busybox": "",
			"until=1h": "busybox ", "dangling=false": "child busybox ",
		} {
			require.Equal(t, want, names(filter), filter)
		}
		for _, filter := range []string{"before=nothing", "until=x", "dangling=maybe"} {
			p.fails(1, "images", "--filter", filter)
		}
		p.docker("commit", "--change", "LABEL a=c", "bg", "child:1") // takes the name
		require.NotEmpty(t, p.docker("images", "-q", "--filter", "dangling=true"))
		require.Contains(t, p.docker("image", "prune", "-f", "--filter", "label=a=nothing"), "reclaimed space: 0B")
		require.Contains(t, p.docker("image", "prune", "-f"), "deleted: sha256:")
		require.Empty(t, p.docker("images", "-q", "--filter", "dangling=true"))
		require.Contains(t, p.docker("image", "prune", "-af"), "untagged: child:1")
		require.Equal(t, "busybox ", names("dangling=false")) // a container has it
	})

	t.Run("versions", func(t *testing.T) {
		var old []imageSummary
		require.NoError(t, json.Unmarshal(p.answerOf(client, "GET", "/v1.41/images/json", "", 200), &old))
		require.Positive(t, old[0].VirtualSize)
		commands := map[string][]string{"docker": {"1.25", "1.41", "1.47"}}
		if path, err := exec.LookPath("/usr/bin/docker"); err == nil { // Debian's, of another time
			commands[path] = []string{"1.25", "1.41"}
		}
		for program, versions := range commands {
			for _, v := range versions {
				run := func(args ...string) string {
					t.Helper()
					c := p.command(args...)
					c.Path, _ = exec.LookPath(program)
					c.Env = append(c.Env, "DOCKER_API_VERSION="+v)
					out, err := c.CombinedOutput()
					require.NoError(t, err, "%s, %s: %s: %s", program, v, strings.Join(args, " "), out)
					return string(out)
				}
				require.Equal(t, "hello\n", run("run", "--rm", "--network", "none", "busybox", "echo", "hello"), v)
				require.Equal(t, "out\n", run("logs", "bg"))
				require.Equal(t, "x\n", run("exec", "bg", "echo", "x"))
				require.Equal(t, "bg\n", run("ps", "--format", "{{.Names}}"))
				require.Contains(t, run("images"), "busybox")
				require.Contains(t, run("image", "inspect", "-f", "{{.RepoTags}}", "busybox"), "busybox:latest")
				require.Contains(t, run("system", "df"), "Containers")
				require.Contains(t, run("network", "inspect", "x_default"), "com.docker.compose.project")
				require.Equal(t, "x_data\n", run("volume", "ls", "-q"))
				run("info")
			}
		}
	})
}
