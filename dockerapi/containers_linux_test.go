package dockerapi

import (
	"archive/tar"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestDockerRun(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	require.Equal(t, "hello\n", p.docker("run", "--network", "none", "--rm", "busybox", "echo", "hello"))
	out, stderr, err := p.try("run", "--network", "none", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
	require.Error(t, err)
	require.Equal(t, []string{"out\n", "err\n"}, []string{out, stderr})
	for status, command := range map[int]string{7: "exit 7", 130: "exit 130"} {
		p.fails(status, "run", "--network", "none", "--rm", "busybox", "sh", "-c", command)
	}
	require.Contains(t, p.fails(127, "run", "--network", "none", "--rm", "busybox", "nothing"), "nothing")
	require.Contains(t, p.fails(126, "run", "--network", "none", "--rm", "busybox", "/etc"), "permission denied")
	require.Empty(t, p.docker("ps", "-aq"))

	// The input, and its end.
	c := p.command("run", "-i", "--network", "none", "--rm", "busybox", "sh", "-c", "cat; echo end")
	c.Stdin = strings.NewReader(strings.Repeat("a line\n", 10000))
	got, err := c.Output()
	require.NoError(t, err)
	require.True(t, strings.Repeat("a line\n", 10000)+"end\n" == string(got), "%d bytes", len(got))

	// A flag of each kind reaches the container.
	require.Equal(t, "b /tmp 1 me 64\n", p.docker("run", "--rm", "--network", "none", "-e", "A=b", "-w", "/tmp", "-u", "1", "-h", "me", "--ulimit", "nofile=64",
		"--tmpfs", "/t:size=1m", "--init", "busybox", "sh", "-c", "echo $A $PWD $(id -u) $(hostname) $(ulimit -n)"))
	dir := t.TempDir()
	p.docker("run", "--rm", "--network", "none", "-v", dir+":/data", "--mount", "type=volume,src=vol,dst=/vol", "busybox", "sh", "-c", "echo x >/data/f; echo y >/vol/f")
	b, err := os.ReadFile(filepath.Join(dir, "f"))
	require.NoError(t, err)
	require.Equal(t, "x\n", string(b))
	require.Equal(t, "y\n", p.docker("run", "--rm", "--network", "none", "-v", "vol:/vol:ro", "busybox", "cat", "/vol/f"))
	require.NoError(t, p.e.RemoveVolume(t.Context(), "vol"))
	require.Contains(t, p.fails(125, "run", "--rm", "--storage-opt", "size=1g", "busybox"), "not implemented: HostConfig.StorageOpt")
	require.Contains(t, p.fails(125, "run", "--rm", "--log-driver", "syslog", "busybox"), `log driver "syslog": not implemented`)
	p.docker("run", "--name", "logged", "--network", "none", "--log-driver", "local", "--log-opt", "max-size=1m", "busybox", "true")
	require.Equal(t, "{local map[max-size:1m]}\n", p.docker("inspect", "-f", "{{.HostConfig.LogConfig}}", "logged"))
	p.docker("rm", "logged")
}

// TestDockerTerminal: a terminal with the size that the client's has.
func TestDockerTerminal(t *testing.T) {
	p := newPeer(t)
	testenv.RequireCommand(t, "script")
	p.busybox()
	c := p.command("run", "-it", "--rm", "--network", "none", "busybox", "sh", "-c", "stty size; read x; echo got $x; exit 3")
	line := "stty rows 33 cols 99; exec " + shellWords(c.Args)
	script := p.command()
	script.Path, script.Args = "/usr/bin/script", []string{"script", "-qec", line, "/dev/null"}
	in, err := script.StdinPipe()
	require.NoError(t, err)
	var out lockedBuffer
	script.Stdout, script.Stderr = &out, &out
	require.NoError(t, script.Start())
	out.await(t, "33 99")
	_, err = io.WriteString(in, "typed\n")
	require.NoError(t, err)
	out.await(t, "got typed")
	require.Error(t, script.Wait())
	require.Equal(t, 3, script.ProcessState.ExitCode())
	_ = in.Close() // Wait has done so
}

func TestDockerLife(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	id := strings.TrimSpace(p.docker("run", "-d", "--name", "bg", "--network", "none", "-l", "a=b", "--stop-timeout", "0", "busybox", "sh", "-c",
		"echo begun; echo wrong >&2; trap 'echo usr1' USR1; while true; do sleep 0.05; done"))
	require.Len(t, id, 64)
	p.awaitLog("bg", "begun\nwrong\n")

	require.Equal(t, "running true /bg none b\n", p.docker("inspect", "-f",
		`{{.State.Status}} {{.State.Running}} {{.Name}} {{.HostConfig.NetworkMode}} {{.Config.Labels.a}}`, id[:12]))
	for filter, want := range map[string]string{
		"name=^/?bg$": "bg\n", "name=other": "", "status=running": "bg\n", "status=exited": "", "label=a": "bg\n", "label=a=c": "", "id=" + id[:6]: "bg\n",
		"ancestor=busybox": "bg\n", "ancestor=nothing": "", "network=none": "bg\n", "exited=0": "", "health=none": "bg\n", "expose=80": "",
	} {
		require.Equal(t, want, p.docker("ps", "--filter", filter, "--format", "{{.Names}}"), filter)
	}
	require.Contains(t, p.fails(1, "ps", "--filter", "wrong=x"), "invalid filter 'wrong'")
	require.Contains(t, p.docker("top", "bg", "-o", "pid,args"), "sleep 0.05")
	require.Regexp(t, `^bg [0-9.]+% [1-9][0-9.]*[KM]iB`, p.docker("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}}", "bg"))

	p.docker("kill", "-s", "USR1", "bg")
	p.awaitLog("bg", "begun\nwrong\nusr1\n")
	p.docker("pause", "bg")
	require.Equal(t, "paused\n", p.docker("inspect", "-f", "{{.State.Status}}", "bg"))
	require.Contains(t, p.fails(1, "pause", "bg"), "already paused")
	p.docker("unpause", "bg")
	p.docker("rename", "bg", "renamed")
	require.Contains(t, p.fails(1, "rename", "nothing", "x2"), "No such container: nothing")
	p.docker("update", "--memory", "64m", "--memory-swap", "-1", "renamed")
	require.Equal(t, "67108864\n", p.docker("inspect", "-f", "{{.HostConfig.Memory}}", "renamed"))
	before := p.docker("inspect", "-f", "{{.State.Pid}}", "renamed")
	p.docker("restart", "-t", "0", "renamed")
	require.NotEqual(t, before, p.docker("inspect", "-f", "{{.State.Pid}}", "renamed"))
	require.Contains(t, p.fails(1, "rm", "renamed"), "cannot remove container")
	require.Equal(t, "renamed\n", p.docker("stop", "renamed"))
	require.Equal(t, "137\n", p.docker("wait", "renamed"))
	require.Equal(t, "exited 137\n", p.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "renamed"))
	require.Equal(t, "renamed\n", p.docker("stop", "renamed")) // again
	require.Contains(t, p.fails(1, "kill", "renamed"), "is not running")
	p.docker("start", "renamed")
	p.docker("rm", "-f", "renamed")
	require.Contains(t, p.fails(1, "inspect", "--type", "container", "renamed"), "No such container: renamed")

	p.docker("create", "--name", "made", "--network", "none", "busybox")
	require.Empty(t, p.docker("logs", "made"))
	require.Contains(t, p.docker("container", "prune", "-f"), "Total reclaimed space")
	require.Empty(t, p.docker("ps", "-aq"))
}

func TestDockerLogs(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "bg", "--network", "none", "busybox", "sh", "-c", "for i in 1 2 3 4; do echo $i; done; while [ ! -e /go ]; do sleep 0.02; done; echo -n 5")
	p.awaitLog("bg", "1\n2\n3\n4\n")
	require.Equal(t, "3\n4\n", p.docker("logs", "--tail", "2", "bg"))
	require.Empty(t, p.docker("logs", "--tail", "0", "bg"))
	require.Empty(t, p.docker("logs", "--until", "1h", "bg"))
	require.Empty(t, p.docker("logs", "--since", time.Now().Add(time.Hour).Format(time.RFC3339), "bg"))
	require.Equal(t, "1\n2\n3\n4\n", p.docker("logs", "--since", "1h", "bg"))
	require.Regexp(t, `^20[0-9-]+T[0-9:.]+Z 4\n$`, p.docker("logs", "--tail", "1", "-t", "bg"))
	require.Contains(t, p.fails(1, "logs", "--since", "x", "bg"), "x")

	follow := p.command("logs", "-f", "bg")
	var out lockedBuffer
	follow.Stdout = &out
	require.NoError(t, follow.Start())
	out.await(t, "4\n")
	attach := p.command("attach", "--no-stdin", "bg")
	var attached lockedBuffer
	attach.Stdout = &attached
	require.NoError(t, attach.Start())
	p.awaitEvent("attach")
	p.docker("exec", "bg", "touch", "/go")
	require.NoError(t, follow.Wait())
	require.Equal(t, "1\n2\n3\n4\n5", out.String())
	require.NoError(t, attach.Wait())
	require.Equal(t, "5", attached.String())
	require.Equal(t, "1\n2\n3\n4\n5", p.docker("logs", "bg"))

	// Attached before the start, by start -a, and the exit status.
	p.docker("create", "--name", "later", "--network", "none", "busybox", "sh", "-c", "echo later; exit 9")
	out2, _, err := p.try("start", "-a", "later")
	require.ErrorContains(t, err, "exit status 9")
	require.Equal(t, "later\n", out2)
}

func TestDockerCopy(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "bg", "--network", "none", "busybox", "sh", "-c",
		"mkdir -p /d/sub; echo one >/d/one; echo two >/d/sub/two; ln -s /etc/passwd /d/link; ln -s /d/../../../../../../tmp /out; rm -r /root; echo ready; sleep 1000")
	p.awaitLog("bg", "ready\n")
	dir := t.TempDir()
	p.docker("cp", "bg:/d", dir)
	b, err := os.ReadFile(filepath.Join(dir, "d/sub/two"))
	require.NoError(t, err)
	require.Equal(t, "two\n", string(b))
	target, err := os.Readlink(filepath.Join(dir, "d/link"))
	require.NoError(t, err)
	require.Equal(t, "/etc/passwd", target)
	p.docker("cp", "bg:/d/one", filepath.Join(dir, "other"))
	p.docker("cp", filepath.Join(dir, "other"), "bg:/d/sub/")
	p.docker("cp", filepath.Join(dir, "other"), "bg:/d/renamed")
	require.Equal(t, "one\none\n", p.docker("exec", "bg", "cat", "/d/sub/other", "/d/renamed"))
	require.Contains(t, p.fails(1, "cp", "bg:/nothing", dir), "Could not find the file /nothing in")

	// A link of the container's that leads out of it leads nowhere but into it (CVE-2018-15664, CVE-2019-14271).
	p.docker("cp", filepath.Join(dir, "other"), "bg:/out/marker-of-test")
	require.NoFileExists(t, "/tmp/marker-of-test")
	require.Equal(t, "one\n", p.docker("exec", "bg", "cat", "/tmp/marker-of-test"))

	changes := p.docker("diff", "bg")
	for _, want := range []string{"A /d\n", "A /d/sub/two\n", "D /root\n", "A /out\n"} {
		require.Contains(t, changes, want)
	}
	names := map[string]bool{}
	r := tar.NewReader(strings.NewReader(p.docker("export", "bg")))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		names[h.Name] = true
	}
	require.True(t, names["d/sub/two"] || names["./d/sub/two"], "%v", names)
}

func TestDockerEvents(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	begin := time.Now().Add(-time.Second).Format(time.RFC3339Nano)
	p.fails(4, "run", "--rm", "--name", "short", "--network", "none", "-l", "x=y", "busybox", "sh", "-c", "exit 4")
	const format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"
	now := time.Now().Format(time.RFC3339Nano)
	require.Equal(t, "container create short\ncontainer attach short\ncontainer start short\ncontainer die short\ncontainer destroy short\n",
		sortAttach(p.docker("events", "--since", begin, "--until", now, "--filter", "container=short", "--format", format)))
	require.Equal(t, "4\n", p.docker("events", "--since", begin, "--until", now, "--filter", "event=die", "--filter", "label=x=y",
		"--format", "{{.Actor.Attributes.exitCode}}"))
	require.Empty(t, p.docker("events", "--since", begin, "--until", now, "--filter", "type=volume", "--format", format))
	require.Contains(t, p.fails(1, "events", "--until", "0s", "--filter", "wrong=x"), "invalid filter 'wrong'")
	require.Contains(t, p.docker("events", "--since", begin, "--until", now, "--filter", "type=image", "--format", format), "image pull 127.0.0.1")

	// As they happen.
	live := p.command("events", "--filter", "type=container", "--format", format)
	var out lockedBuffer
	live.Stdout = &out
	require.NoError(t, live.Start())
	for i := 0; !strings.Contains(out.String(), "live"); i++ { // it may not listen yet
		p.e.Note(engine.ContainerEvent, "exec_detach", "id", map[string]string{"name": "live"})
		require.Less(t, i, 6000)
		time.Sleep(10 * time.Millisecond)
	}
	require.NoError(t, live.Process.Kill())
	_ = live.Wait()
}

// sortAttach puts an attach, which is noted as soon as the client is ready, in its usual place.
func sortAttach(s string) string {
	const attach = "container attach short\n"
	i := strings.Index(s, "container start")
	if !strings.Contains(s, attach) || i < 0 {
		return s
	}
	s = strings.Replace(s, attach, "", 1)
	i = strings.Index(s, "container start")
	return s[:i] + attach + s[i:]
}

// shellWords quotes words for a shell.
func shellWords(words []string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "' ")
	}
	return b.String()
}

// awaitLog waits until a container has printed a text, on both streams.
func (p *peer) awaitLog(name, want string) {
	p.Helper()
	require.Eventually(p, func() bool {
		out, stderr, err := p.try("logs", name)
		return err == nil && len(out)+len(stderr) == len(want) && (out == want || strings.Contains(want, stderr))
	}, time.Minute, 10*time.Millisecond)
}

// awaitEvent waits for an event that is there or comes.
func (p *peer) awaitEvent(action string) {
	p.Helper()
	r, err := p.e.OpenEvents(time.Unix(1, 0))
	require.NoError(p, err)
	defer r.Close()
	for {
		ev, err := r.Next(p.Context())
		require.NoError(p, err)
		if ev.Type == engine.ContainerEvent && ev.Action == action {
			return
		}
	}
}

// A lockedBuffer is what a program has printed so far.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) await(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(l.String(), text) }, time.Minute, 5*time.Millisecond)
}

// TestAttachedClientGone: nothing is left of a client that has gone, though its container prints nothing, or never starts.
func TestAttachedClientGone(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "silent", "--network", "none", "busybox", "sleep", "1000")
	p.docker("create", "--name", "made", "--network", "none", "busybox", "sleep", "1000")
	for _, name := range []string{"silent", "made"} {
		c, err := net.Dial("unix", p.socket)
		require.NoError(t, err)
		_, err = io.WriteString(c, "POST /containers/"+name+"/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n")
		require.NoError(t, err)
		head := make([]byte, 12)
		_, err = io.ReadFull(c, head)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 101", string(head))
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool {
		p.s.calls.mu.Lock()
		defer p.s.calls.mu.Unlock()
		return len(p.s.calls.n) == 0
	}, time.Minute, 20*time.Millisecond)
}

func TestDockerPorts(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "web", "-p", "18080:80", "busybox", "sleep", "1000")
	require.Equal(t, "80/tcp -> 0.0.0.0:18080\n80/tcp -> [::]:18080\n", p.docker("port", "web"))
	require.Contains(t, p.docker("ps", "--format", "{{.Ports}}"), "0.0.0.0:18080->80/tcp")
	address := strings.TrimSpace(p.docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web"))
	require.Regexp(t, `^172\.\d+\.0\.\d+$`, address)
	require.Equal(t, address+"\n", p.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"))
	require.Contains(t, p.docker("exec", "web", "cat", "/etc/hosts"), address)
	require.Contains(t, p.fails(125, "run", "-d", "-p", "18080:80", "busybox", "sleep", "1"), "port is already allocated")
	require.Equal(t, "web\n", p.docker("ps", "--filter", "publish=18080", "--format", "{{.Names}}"))
}
