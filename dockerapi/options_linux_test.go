package dockerapi

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDockerOptions: what most users of `docker run` ask for, and the commands about what ran, at one server.
func TestDockerOptions(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	run := func(script string, options ...string) []string {
		t.Helper()
		return strings.Split(strings.TrimSpace(p.docker(append(append([]string{"run", "--rm"}, options...), "busybox", "sh", "-c", script)...)), "\n")
	}

	t.Run("process", func(t *testing.T) {
		require.Equal(t, []string{"1000", "2000 77", "/somewhere", "A=1 B=file C=", "7", "100 200", "0000000000001000", "1", "2"}, run(
			`id -u; id -G; pwd; echo A=$A B=$B C=$C; cat /proc/self/oom_score_adj; echo $(ulimit -n) $(ulimit -Hn)
grep CapBnd /proc/self/status | cut -f2; grep NoNewPrivs /proc/self/status | cut -f2; grep Seccomp: /proc/self/status | cut -f2`,
			"--network", "none", "-u", "1000:2000", "--group-add", "77", "-w", "/somewhere", "-e", "A=1", "-e", "C", "--env-file", file("env", "# none\nB=file\nA=file\n"),
			"--oom-score-adj", "7", "--ulimit", "nofile=100:200", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--security-opt", "no-new-privileges"))
		require.Equal(t, []string{"init"}, run("test $$ -ne 1 && echo init", "--network", "none", "--init"))
		require.Equal(t, "entry\n", p.docker("run", "--rm", "--network", "none", "--entrypoint", "echo", "busybox", "entry"))
		require.Equal(t, []string{"ok"}, run("test $$ -ne 1 && echo ok", "--network", "none", "--pid", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host", "--annotation", "a=b",
			"--device-cgroup-rule", "c 42:* rmw", "--pull", "never", "--quiet"))
		require.NotContains(t, run("grep CapEff /proc/self/status", "--network", "none", "--privileged")[0], "00000000a80425fb")
	})

	t.Run("files", func(t *testing.T) {
		require.Equal(t, []string{"nocopy", "1024", "1770", "8192", "ro", "ro"}, run(
			`echo nocopy >/vol/x; cat /vol/x; df -k /tmpfs | tail -1 | awk '{print $2}'; stat -c %a /tmpfs; df -k /dev/shm | tail -1 | awk '{print $2}'
touch /bind/x 2>/dev/null || echo ro; touch /x 2>/dev/null || echo ro`,
			"--network", "none", "--mount", "type=volume,src=data,dst=/vol,volume-nocopy", "--mount", "type=tmpfs,dst=/tmpfs,tmpfs-size=1m,tmpfs-mode=1770", "--shm-size", "8m",
			"--mount", "type=bind,src="+dir+",dst=/bind,ro", "--read-only"))
		require.Contains(t, p.fails(125, "run", "--rm", "--mount", "type=bind,src="+dir+"/nothing,dst=/x", "busybox", "true"), "bind source path does not exist")
		p.docker("create", "--name", "owner", "-v", "data:/vol", "busybox")
		require.Equal(t, []string{"nocopy"}, run("cat /vol/x", "--network", "none", "--volumes-from", "owner:ro"))
		p.docker("rm", "owner")
	})

	t.Run("networks", func(t *testing.T) {
		p.docker("network", "create", "--subnet", "10.98.0.0/24", "net")
		require.Equal(t, []string{"10.98.0.7/24", "02:00:00:00:00:09", "10.98.0.7 box.example.org box", "1.2.3.4 other", "search example.org", "options ndots:3"}, run(
			`ip -4 -o addr show eth0 | awk '{print $4}'; cat /sys/class/net/eth0/address; grep box /etc/hosts | tr '\t' ' '; grep other /etc/hosts | tr '\t' ' '; grep -v nameserver /etc/resolv.conf`,
			"--network", "name=net,alias=mine,ip=10.98.0.7,mac-address=02:00:00:00:00:09", "-h", "box", "--domainname", "example.org", "--add-host", "other:1.2.3.4", "--dns", "192.0.2.1",
			"--dns-search", "example.org", "--dns-option", "ndots:3"))
	})

	t.Run("refused", func(t *testing.T) {
		for options, text := range map[string]string{
			"--cap-add NONSENSE": "unknown capability", "--device-cgroup-rule nonsense": "nonsense", "--cgroupns nonsense": "cgroup", "--security-opt nonsense": "nonsense",
			"--sysctl kernel.foo=0": "kernel.foo", "--cpus 1000000": "CPUs", "-m 1k": "1024", "--runtime nonsense": "HostConfig.Runtime: nonsense", "--name BAD/NAME": "BAD/NAME",
			"--log-driver nonsense": "nonsense", "--log-opt nonsense=1": "nonsense", "--memory-swappiness 200": "0-100", "--isolation hyperv": "Isolation",
			"--restart nonsense": "nonsense", "--gpus all": "nvidia.com/gpu", "--storage-opt size=1g": "StorageOpt", "--volume-driver nonsense": "VolumeDriver",
		} {
			require.Contains(t, p.fails(125, append(append([]string{"run"}, strings.Fields(options)...), "busybox", "true")...), text, options)
		}
		p.docker("container", "prune", "-f")
	})

	t.Run("ended", func(t *testing.T) {
		p.docker("run", "-d", "--name", "box", "--network", "none", "--restart", "on-failure:2", "-l", "a=b", "busybox", "sh", "-c", "for i in 1 2 3; do echo line$i; done; exit 3")
		require.Equal(t, "3\n", p.docker("wait", "box")) // of the first end, as by dockerd
		require.Eventually(t, func() bool {              // events are noted after what they tell of
			return p.docker("events", "--since", "1h", "--until", "0s", "--filter", "container=box", "--format", "{{.Action}}") == "create\nstart\ndie\nstart\ndie\nstart\ndie\n"
		}, time.Minute, 20*time.Millisecond)
		require.Equal(t, "2 exited 3\n", p.docker("inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "box"))
		require.Equal(t, "line2\nline3\n", p.docker("logs", "-n", "2", "box"))
		require.Empty(t, p.docker("logs", "--until", "2000-01-01", "box"))
		require.Regexp(t, `^(20\S+Z line\d\n){9}$`, p.docker("logs", "-t", "box"))
		require.Equal(t, "3\n", p.docker("events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--filter", "label=a", "--format", "{{.Actor.Attributes.exitCode}}")[:2])
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "of-stdin", Mode: 0o644, Size: 4}))
		_, err := w.Write([]byte("text"))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		cmd := p.command("cp", "-", "box:/")
		cmd.Stdin = &archive
		require.NoError(t, cmd.Run())
		require.Equal(t, "A /of-stdin\n", p.docker("diff", "box"))
		require.Contains(t, p.docker("cp", "box:/of-stdin", "-"), "text")
		require.Contains(t, p.docker("image", "ls", "--tree"), "linux/")
		require.Contains(t, p.docker("container", "prune", "-f", "--filter", "label=nothing"), "reclaimed space: 0B")
		require.Contains(t, p.docker("container", "prune", "-f", "--filter", "label=a=b"), "Deleted Containers")
	})
}
