package peers

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// newDockerd starts dockerd with the machine's runtime as the default one, and returns the docker command.
func newDockerd(t *testing.T, m *machine) client {
	t.Helper()
	for _, dir := range []string{"docker", "containerd"} {
		require.NoError(t, os.MkdirAll(filepath.Join("/var/lib", dir), 0o710))
	}
	docker := client{"/usr/bin/docker"}
	t.Cleanup(func() { client{"umount"}.do(t, "", "/run/docker/netns/default") }) // which dockerd leaves
	newServer(t, m.Dir, append(docker[:1:1], "version"), "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--add-runtime=tested="+m.Runtime, "--default-runtime=tested", "--exec-opt=native.cgroupdriver=cgroupfs")
	docker.out(t, "load", "-q", "-i", newImage(t, m.Dir))
	return docker
}

// TestDocker is a container's everyday life by dockerd.
func TestDocker(t *testing.T) {
	if os.Getenv(envRuntime) == "" {
		testenv.RequireCommand(t, "dockerd", "/usr/bin/docker", "busybox", "script")
	}
	inMachines(t, func(t *testing.T, m *machine) {
		d := newDockerd(t, m)
		for name, test := range dockerTests {
			t.Run(name, func(t *testing.T) { test(t, d) })
		}
		require.Empty(t, d.out(t, "ps", "-aq"))
		entries, err := os.ReadDir("/run/docker/runtime-runc/moby")
		require.True(t, err != nil || len(entries) == 0, "%v", entries)
		for _, parent := range []string{"/sys/fs/cgroup/memory/docker", "/sys/fs/cgroup/pids/docker", "/sys/fs/cgroup/unified/docker"} {
			dirs, _ := filepath.Glob(parent + "/*/")
			require.Empty(t, dirs)
		}
	})
}

var dockerTests = map[string]func(*testing.T, client){
	"run": func(t *testing.T, d client) {
		require.Equal(t, "hi", d.out(t, "run", "--rm", imageName, "echo", "hi"))
		d.fails(t, 7, "run", "--rm", imageName, "sh", "-c", "exit 7")
		require.Contains(t, d.fails(t, 127, "run", "--rm", imageName, "/absent"), "no such file")
		require.Contains(t, d.fails(t, 126, "run", "--rm", imageName, "/etc/passwd"), "ermission denied")
		require.Contains(t, d.fails(t, 127, "run", "--rm", imageName, "absent"), "executable file not found")
		r := d.do(t, "spoken\n", "run", "--rm", "-i", imageName, "cat")
		require.Equal(t, "spoken", r.out, r.errs)
		require.Equal(t, "1000 2000 /tmp v box", d.out(t, "run", "--rm", "--user", "app:staff", "-w", "/tmp", "-e", "A=v", "-h", "box",
			imageName, "sh", "-c", "echo $(id -u) $(id -g) $(pwd) $A $(hostname)"))
		r = d.do(t, "", "run", "--rm", imageName, "sh", "-c", "echo out; echo err >&2")
		require.Equal(t, result{"out", "err", 0}, r)
	},
	"options": func(t *testing.T, d client) {
		run := func(args ...string) string { return d.out(t, append([]string{"run", "--rm"}, args...)...) }
		require.Equal(t, "123 456", run("--ulimit", "nofile=123:456", imageName, "sh", "-c", "echo $(ulimit -n) $(ulimit -Hn)"))
		require.Contains(t, run("--cap-drop", "all", imageName, "grep", "Cap", "/proc/self/status"), "CapEff:\t0000000000000000")
		require.Contains(t, run("--security-opt", "no-new-privileges", imageName, "grep", "NoNewPrivs", "/proc/self/status"), "1")
		require.Contains(t, run(imageName, "grep", "Seccomp:", "/proc/self/status"), "2")
		require.Contains(t, run("--security-opt", "seccomp=unconfined", imageName, "grep", "Seccomp:", "/proc/self/status"), "0")
		require.Equal(t, "300", run("--sysctl", "kernel.msgmni=300", imageName, "cat", "/proc/sys/kernel/msgmni"))
		d.fails(t, 1, "run", "--rm", "--read-only", imageName, "touch", "/file")
		require.Equal(t, "ok", run("--read-only", "--tmpfs", "/data:size=1m,mode=1777", imageName, "sh", "-c", "touch /data/file && echo ok"))
		require.Equal(t, "c", run("--device", "/dev/zero:/dev/naught:r", imageName, "sh", "-c", "test -c /dev/naught && head -c1 /dev/naught >/dev/null && echo c"))
		require.Equal(t, "machine", run("--uts", "host", imageName, "hostname"))
		require.Equal(t, "ok", run("--pid", "host", "--ipc", "host", "--cgroupns", "host", "--network", "host", imageName, "echo", "ok"))
		require.Equal(t, "ok", run("--cgroup-parent", "/parent", imageName, "echo", "ok"))
		require.Contains(t, run("--init", imageName, "ps"), "docker-init")
		require.Equal(t, "8192", strings.Fields(run("--shm-size", "8m", imageName, "df", "/dev/shm"))[8])
	},
	"exec": func(t *testing.T, d client) {
		newContainer(t, d, "box", imageName, "sleep", "1000")
		require.Equal(t, "hi", d.out(t, "exec", "box", "echo", "hi"))
		require.Equal(t, "1000 /tmp v", d.out(t, "exec", "-u", "app", "-w", "/tmp", "-e", "A=v", "box", "sh", "-c", "echo $(id -u) $(pwd) $A"))
		d.fails(t, 9, "exec", "box", "sh", "-c", "exit 9")
		require.NotZero(t, d.do(t, "", "exec", "box", "/absent").code)
		d.fails(t, 126, "exec", "box", "/etc/passwd")
		r := d.do(t, "spoken\n", "exec", "-i", "box", "cat")
		require.Equal(t, "spoken", r.out, r.errs)
		d.out(t, "exec", "-d", "box", "sh", "-c", "echo from >/tmp/file")
		eventually(t, func() bool { return d.do(t, "", "exec", "box", "cat", "/tmp/file").out == "from" }, "exec -d")
		require.Equal(t, "ok", d.out(t, "run", "--rm", "--pid", "container:box", "--network", "container:box", imageName, "sh", "-c",
			"ps | grep -q sleep && echo ok"))
	},
	"terminal": func(t *testing.T, d client) {
		r := d.terminal(t, "", "run", "--rm", "-it", imageName, "sh", "-c", sized+"; stty size; tty")
		require.Equal(t, 0, r.code, r.out)
		require.Contains(t, r.out, "33 99\n/dev/pts/0")
		newContainer(t, d, "box", "-t", imageName, "sleep", "1000")
		r = d.terminal(t, "", "exec", "-it", "box", "sh", "-c", sized+"; stty size; tty; exit 5")
		require.Equal(t, 5, r.code, r.out)
		require.Contains(t, r.out, "33 99\n/dev/pts/")
	},
	"signals": func(t *testing.T, d client) {
		newContainer(t, d, "box", imageName, "sh", "-c", "trap 'echo hup' HUP; trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done")
		eventually(t, func() bool { return d.out(t, "logs", "box") == "up" }, "up")
		d.out(t, "kill", "-s", "HUP", "box")
		eventually(t, func() bool { return d.out(t, "logs", "box") == "up\nhup" }, "hup")
		d.out(t, "stop", "box")
		require.Equal(t, "3", d.out(t, "wait", "box"))
		require.Equal(t, "up\nhup\nterm", d.out(t, "logs", "box"))
		require.NotZero(t, d.do(t, "", "kill", "box").code, "it has ended")
		newContainer(t, d, "box2", imageName, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
		d.out(t, "stop", "-t", "1", "box2")
		require.Equal(t, "137", d.out(t, "inspect", "-f", "{{.State.ExitCode}}", "box2"))
	},
	"limits": func(t *testing.T, d client) {
		newContainer(t, d, "box", "-m", "64m", "--memory-swap", "128m", "--cpus", "0.5", "--pids-limit", "77", "--cpu-shares", "512",
			"--cpuset-cpus", "0", imageName, "sleep", "1000")
		read := func(file string) string { return d.out(t, "exec", "box", "cat", "/sys/fs/cgroup/"+file) }
		require.Equal(t, "67108864", read("memory/memory.limit_in_bytes"))
		require.Equal(t, "50000", read("cpu/cpu.cfs_quota_us"))
		require.Equal(t, "512", read("cpu/cpu.shares"))
		require.Equal(t, "77", read("pids/pids.max"))
		require.Equal(t, "0", read("cpuset/cpuset.cpus"))
		d.out(t, "update", "--memory", "96m", "--cpus", "0.25", "--pids-limit", "66", "box")
		require.Equal(t, "100663296", read("memory/memory.limit_in_bytes"))
		require.Equal(t, "25000", read("cpu/cpu.cfs_quota_us"))
		require.Equal(t, "66", read("pids/pids.max"))
		device := d.do(t, "", "exec", "box", "sh", "-c", "busybox mknod /tmp/mem c 1 1 && head -c1 /tmp/mem")
		require.NotZero(t, device.code)
		require.Contains(t, device.errs, "not permitted")
	},
	"oom": func(t *testing.T, d client) {
		newContainer(t, d, "box", "-m", "16m", "--memory-swap", "16m", imageName, "sh", "-c", outOfMemory)
		eventually(t, func() bool {
			return d.out(t, "events", "--since", "1h", "--until", strconv.FormatInt(time.Now().Unix()+1, 10), "--filter", "event=oom") != ""
		}, "dockerd has heard of it")
		d.out(t, "kill", "-s", "TERM", "box")
		require.Equal(t, "8", d.out(t, "wait", "box"))
		eventually(t, func() bool { return d.out(t, "inspect", "-f", "{{.State.OOMKilled}}", "box") == "true" }, "OOMKilled")
	},
	"pause": func(t *testing.T, d client) {
		newContainer(t, d, "box", imageName, "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/new; busybox mv /new /count; done")
		d.out(t, "pause", "box")
		require.Equal(t, "paused", d.out(t, "inspect", "-f", "{{.State.Status}}", "box"))
		count := func() string { return d.out(t, "cp", "box:/count", "-") }
		first := count()
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, first, count())
		d.out(t, "unpause", "box")
		eventually(t, func() bool { return count() != first }, "it counts again")
		d.out(t, "pause", "box")
		d.out(t, "rm", "-f", "box")
	},
	"stats": func(t *testing.T, d client) {
		newContainer(t, d, "box", "-m", "64m", imageName, "sh", "-c", "while :; do :; done")
		require.Contains(t, d.out(t, "stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "box"), "/ 64MiB 1")
		require.Contains(t, d.out(t, "top", "box"), "while")
		require.Contains(t, d.out(t, "top", "box", "-o", "pid,comm"), "sh")
	},
	"restart": func(t *testing.T, d client) {
		newContainer(t, d, "box", imageName, "sh", "-c", "echo started; sleep 1000")
		pid := func() string { return d.out(t, "inspect", "-f", "{{.State.Pid}}", "box") }
		first := pid()
		d.out(t, "restart", "-t", "0", "box")
		require.NotEqual(t, first, pid())
		d.out(t, "stop", "-t", "0", "box")
		require.Equal(t, "0", pid())
		d.out(t, "start", "box")
		eventually(t, func() bool { return d.out(t, "logs", "box") == "started\nstarted\nstarted" }, "three starts")
		newContainer(t, d, "box2", "--restart", "on-failure:2", imageName, "sh", "-c", "echo try; exit 1")
		eventually(t, func() bool { return d.out(t, "logs", "box2") == "try\ntry\ntry" }, "three tries")
	},
	"logs": func(t *testing.T, d client) {
		newContainer(t, d, "box", imageName, "sh", "-c", "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.3; done")
		require.Equal(t, result{"1\n2\n3", "e1\ne2\ne3", 0}, d.do(t, "", "logs", "-f", "box"))
	},
	"health": func(t *testing.T, d client) {
		newContainer(t, d, "box", "--health-cmd", "cat /tmp/well", "--health-interval", "200ms", imageName, "sh", "-c", "touch /tmp/well; sleep 1000")
		eventually(t, func() bool { return d.out(t, "inspect", "-f", "{{.State.Health.Status}}", "box") == "healthy" }, "healthy")
	},
	"create": func(t *testing.T, d client) {
		d.out(t, "create", "--name", "box", "-v", "vol:/data", imageName, "sh", "-c", "echo kept >/data/file; exit 4")
		t.Cleanup(func() { d.out(t, "rm", "-f", "box"); d.out(t, "volume", "rm", "vol") })
		d.fails(t, 4, "start", "-a", "box")
		require.Equal(t, "kept", d.out(t, "run", "--rm", "-v", "vol:/data:ro", imageName, "cat", "/data/file"))
		require.Contains(t, d.fails(t, 1, "run", "--rm", "-v", "vol:/data:ro", imageName, "touch", "/data/file2"), "Read-only")
	},
}
