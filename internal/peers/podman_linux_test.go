package peers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

const containersConf = `
[containers]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
image_copy_tmp_dir = "/run"
runtime_supports_json = ["runc", "minirunc"]
[network]
network_backend = "cni"
`

// newPodman returns podman with the machine's runtime and an image.
func newPodman(t *testing.T, m *machine, before ...string) client {
	t.Helper()
	conf := filepath.Join(m.Dir, "containers.conf")
	require.NoError(t, os.WriteFile(conf, []byte(containersConf), 0o644))
	t.Setenv("CONTAINERS_CONF", conf)
	p := append(client(before), "podman", "--runtime", m.Runtime)
	p.out(t, "load", "-q", "-i", newImage(t, m.Dir))
	return p
}

// TestPodman is a container's everyday life by podman.
func TestPodman(t *testing.T) {
	if os.Getenv(envRuntime) == "" {
		testenv.RequireCommand(t, "podman", "busybox", "script")
	}
	inMachines(t, func(t *testing.T, m *machine) {
		p := newPodman(t, m)
		for name, test := range podmanTests {
			t.Run(name, func(t *testing.T) { test(t, p) })
		}
		require.Empty(t, p.out(t, "ps", "-aq"))
		requireNoContainers(t, m)
	})
}

// requireNoContainers fails when the runtime has left state, a mount or a control group.
func requireNoContainers(t *testing.T, m *machine) {
	t.Helper()
	for _, dir := range []string{"/run/runc", "/run/minirunc"} {
		entries, err := os.ReadDir(dir)
		if !os.IsNotExist(err) {
			require.NoError(t, err)
		}
		require.Empty(t, entries, dir)
	}
}

var podmanTests = map[string]func(*testing.T, client){
	"run": func(t *testing.T, p client) {
		require.Equal(t, "hi", p.out(t, "run", "--rm", imageName, "echo", "hi"))
		p.fails(t, 7, "run", "--rm", imageName, "sh", "-c", "exit 7")
		require.Contains(t, p.fails(t, 127, "run", "--rm", imageName, "/absent"), "no such file")
		require.Contains(t, p.fails(t, 126, "run", "--rm", imageName, "/etc/passwd"), "ermission denied")
		p.fails(t, 127, "run", "--rm", imageName, "absent")
		r := p.do(t, "spoken\n", "run", "--rm", "-i", imageName, "cat")
		require.Equal(t, "spoken", r.out, r.errs)
		require.Equal(t, "1000 2000 /tmp v box", p.out(t, "run", "--rm", "--user", "app:staff", "-w", "/tmp", "-e", "A=v", "-h", "box",
			imageName, "sh", "-c", "echo $(id -u) $(id -g) $(pwd) $A $(hostname)"))
		r = p.do(t, "", "run", "--rm", imageName, "sh", "-c", "echo out; echo err >&2")
		require.Equal(t, result{"out", "err", 0}, r)
		p.fails(t, 137, "run", "--rm", imageName, "sh", "-c", "sh -c 'kill -9 $$'; exit $?")
	},
	"options": func(t *testing.T, p client) {
		run := func(args ...string) string { return p.out(t, append([]string{"run", "--rm"}, args...)...) }
		require.Equal(t, "123 456", run("--ulimit", "nofile=123:456", "--ulimit", "nproc=1000:2000", imageName, "sh", "-c", "echo $(ulimit -n) $(ulimit -Hn)"))
		require.Contains(t, run("--cap-drop", "all", imageName, "grep", "Cap", "/proc/self/status"), "CapEff:\t0000000000000000")
		require.Contains(t, run("--cap-drop", "all", "--cap-add", "chown", imageName, "grep", "Cap", "/proc/self/status"), "CapEff:\t0000000000000001")
		require.Equal(t, ownCapabilities(t), run("--privileged", imageName, "grep", "CapEff", "/proc/self/status"))
		require.Contains(t, run("--security-opt", "no-new-privileges", imageName, "grep", "NoNewPrivs", "/proc/self/status"), "1")
		require.Contains(t, run(imageName, "grep", "Seccomp:", "/proc/self/status"), "2")
		require.Contains(t, run("--security-opt", "seccomp=unconfined", imageName, "grep", "Seccomp:", "/proc/self/status"), "0")
		require.Equal(t, "300", run("--sysctl", "kernel.msgmni=300", imageName, "cat", "/proc/sys/kernel/msgmni"))
		require.Equal(t, "777", run("--oom-score-adj", "777", imageName, "cat", "/proc/self/oom_score_adj"))
		p.fails(t, 1, "run", "--rm", "--read-only", imageName, "touch", "/file")
		require.Equal(t, "ok", run("--read-only", "--tmpfs", "/data:size=1m,mode=1777", imageName, "sh", "-c", "touch /data/file && echo ok"))
		require.Equal(t, "c", run("--device", "/dev/zero:/dev/naught:r", imageName, "sh", "-c", "test -c /dev/naught && head -c1 /dev/naught | wc -c >/dev/null && echo c"))
		require.Equal(t, "2", run("--pid", "host", imageName, "sh", "-c", "test $$ -gt 2 && echo 2"))
		require.NotEmpty(t, run("--network", "host", imageName, "ls", "/sys/class/net"))
		require.Equal(t, "machine", run("--uts", "host", imageName, "hostname"))
		require.Equal(t, "ok", run("--ipc", "host", "--cgroupns", "host", imageName, "echo", "ok"))
		require.Equal(t, "ok", run("--cgroup-parent", "/parent", imageName, "echo", "ok"))
		require.Contains(t, run("--init", "--init-path", "/usr/bin/tini-static", imageName, "ps"), "init")
		require.Equal(t, "/dev/pts/0", run("-t", imageName, "tty")[:10])
		require.Equal(t, "0022", run("--umask", "0022", imageName, "sh", "-c", "umask"))
		require.Contains(t, run("--systemd", "always", imageName, "mount"), "/sys/fs/cgroup/systemd")
	},
	"volumes": func(t *testing.T, p client) {
		dir, err := os.MkdirTemp(os.Getenv(envDir), "volume-") // which others can reach
		require.NoError(t, err)
		require.NoError(t, os.Chmod(dir, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644))
		require.Equal(t, "content", p.out(t, "run", "--rm", "-v", dir+":/data:ro", imageName, "cat", "/data/file"))
		require.Contains(t, p.fails(t, 1, "run", "--rm", "-v", dir+":/data:ro", imageName, "touch", "/data/other"), "Read-only")
		p.out(t, "run", "--rm", "-v", "vol:/data", imageName, "sh", "-c", "echo kept >/data/file")
		require.Equal(t, "kept", p.out(t, "run", "--rm", "-v", "vol:/data", imageName, "cat", "/data/file"))
		require.Equal(t, "content", p.out(t, "run", "--rm", "-v", dir+":/data:rshared", imageName, "cat", "/data/file"))
		require.Equal(t, "x", p.out(t, "run", "--rm", "--mount", "type=bind,src="+dir+"/file,dst=/etc/one,ro", imageName, "sh", "-c",
			"test -f /etc/one && echo x"))
		p.out(t, "volume", "rm", "vol")
	},
	"exec": func(t *testing.T, p client) {
		newContainer(t, p, "c", imageName, "sleep", "1000")
		require.Equal(t, "hi", p.out(t, "exec", "c", "echo", "hi"))
		require.Equal(t, "1000 /tmp v", p.out(t, "exec", "-u", "app", "-w", "/tmp", "-e", "A=v", "c", "sh", "-c", "echo $(id -u) $(pwd) $A"))
		p.fails(t, 9, "exec", "c", "sh", "-c", "exit 9")
		p.fails(t, 127, "exec", "c", "/absent")
		p.fails(t, 126, "exec", "c", "/etc/passwd")
		r := p.do(t, "spoken\n", "exec", "-i", "c", "cat")
		require.Equal(t, "spoken", r.out, r.errs)
		p.out(t, "exec", "-d", "c", "sh", "-c", "echo from >/tmp/file")
		eventually(t, func() bool { return p.do(t, "", "exec", "c", "cat", "/tmp/file").out == "from" }, "exec -d")
		require.Contains(t, p.out(t, "exec", "--privileged", "c", "grep", "CapEff", "/proc/self/status"), "ffffff")
		require.NotContains(t, p.out(t, "exec", "c", "grep", "CapEff", "/proc/self/status"), "ffffff")
		p.out(t, "stop", "-t", "0", "c")
		require.NotZero(t, p.do(t, "", "exec", "c", "true").code)
	},
	"terminal": func(t *testing.T, p client) {
		r := p.terminal(t, "", "run", "--rm", "-it", imageName, "sh", "-c", "stty size; tty; test -t 0 && test -t 1 && test -t 2 && echo all")
		require.Equal(t, 0, r.code, r.out)
		require.Contains(t, r.out, "33 99\n/dev/pts/0\nall")
		newContainer(t, p, "c", "-t", imageName, "sh", "-c", "sleep 1000")
		r = p.terminal(t, "", "exec", "-it", "c", "sh", "-c", sized+"; stty size; tty; exit 5")
		require.Equal(t, 5, r.code, r.out)
		require.Contains(t, r.out, "33 99\n/dev/pts/")
	},
	"signals": func(t *testing.T, p client) {
		newContainer(t, p, "c", imageName, "sh", "-c", "trap 'echo hup' HUP; trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done")
		eventually(t, func() bool { return p.out(t, "logs", "c") == "up" }, "up")
		p.out(t, "kill", "-s", "HUP", "c")
		eventually(t, func() bool { return p.out(t, "logs", "c") == "up\nhup" }, "hup")
		p.out(t, "stop", "c")
		require.Equal(t, "3", p.out(t, "wait", "c"))
		require.Equal(t, "exited 3", p.out(t, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "c"))
		require.Equal(t, "up\nhup\nterm", p.out(t, "logs", "c"))
		require.NotZero(t, p.do(t, "", "kill", "c").code, "it has ended")
		newContainer(t, p, "d", imageName, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
		p.out(t, "stop", "-t", "1", "d")
		require.Equal(t, "137", p.out(t, "inspect", "-f", "{{.State.ExitCode}}", "d"))
		newContainer(t, p, "e", imageName, "sleep", "1000")
		p.out(t, "kill", "e")
		require.Equal(t, "137", p.out(t, "wait", "e"))
	},
	"limits": func(t *testing.T, p client) {
		newContainer(t, p, "c", "-m", "64m", "--memory-reservation", "32m", "--memory-swap", "128m", "--cpus", "0.5", "--pids-limit", "77",
			"--cpu-shares", "512", "--cpuset-cpus", "0", imageName, "sleep", "1000")
		read := func(file string) string { return p.out(t, "exec", "c", "cat", "/sys/fs/cgroup/"+file) }
		require.Equal(t, "67108864", read("memory/memory.limit_in_bytes"))
		require.Equal(t, "33554432", read("memory/memory.soft_limit_in_bytes"))
		require.Equal(t, "50000", read("cpu/cpu.cfs_quota_us"))
		require.Equal(t, "512", read("cpu/cpu.shares"))
		require.Equal(t, "77", read("pids/pids.max"))
		require.Equal(t, "0", read("cpuset/cpuset.cpus"))
		p.out(t, "update", "--memory", "96m", "--cpus", "0.25", "c")
		require.Equal(t, "100663296", read("memory/memory.limit_in_bytes"))
		require.Equal(t, "25000", read("cpu/cpu.cfs_quota_us"))
		device := p.do(t, "", "exec", "c", "sh", "-c", "busybox mknod /tmp/mem c 1 1 && head -c1 /tmp/mem")
		require.NotZero(t, device.code)
		require.Contains(t, device.errs, "not permitted")
		require.Contains(t, p.fails(t, 2, "exec", "c", "sh", "-c", "for i in $(busybox seq 100); do sleep 5 & done"), "fork")
	},
	"oom": func(t *testing.T, p client) {
		newContainer(t, p, "c", "-m", "16m", "--memory-swap", "16m", imageName, "sh", "-c", "busybox tail /dev/zero; exit 8")
		require.Equal(t, "8", p.out(t, "wait", "c"))
		newContainer(t, p, "d", "-m", "16m", "--memory-swap", "16m", imageName, "busybox", "tail", "/dev/zero")
		require.Equal(t, "137", p.out(t, "wait", "d"))
		// Debian's conmon (2.1.6) leaves the file "oom" in the folder that podman is called in, and podman (4.3.1) looks for it in the
		// bundle: only from there is it found, with any runtime.
		id := p.out(t, "create", "--name", "e", "-m", "16m", "--memory-swap", "16m", imageName, "sh", "-c", outOfMemory)
		t.Cleanup(func() { p.out(t, "rm", "-f", "-t", "0", "e") })
		dir := "/var/lib/containers/storage/overlay-containers/" + id + "/userdata"
		client(append([]string{"env", "-C", dir}, p...)).out(t, "start", "e")
		eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "oom")); return err == nil }, "conmon has heard of it")
		p.out(t, "kill", "-s", "TERM", "e")
		require.Equal(t, "8", p.out(t, "wait", "e"))
		require.Equal(t, "true", p.out(t, "inspect", "-f", "{{.State.OOMKilled}}", "e"))
	},
	"logs": func(t *testing.T, p client) {
		newContainer(t, p, "c", imageName, "sh", "-c", "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.3; done")
		r := p.do(t, "", "logs", "-f", "c")
		require.Equal(t, result{"1\n2\n3", "e1\ne2\ne3", 0}, r)
		require.Equal(t, "3", p.do(t, "", "logs", "--tail", "2", "c").out)
		newContainer(t, p, "d", imageName, "sh", "-c", "yes 0123456789 | head -n 20000; busybox echo end")
		p.out(t, "wait", "d")
		require.Len(t, p.out(t, "logs", "d"), 20000*11+3)
	},
	"pause": func(t *testing.T, p client) {
		newContainer(t, p, "c", imageName, "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/new; busybox mv /new /count; done")
		p.out(t, "pause", "c")
		require.Equal(t, "paused", p.out(t, "inspect", "-f", "{{.State.Status}}", "c"))
		count := func() string { return p.out(t, "cp", "c:/count", "-") }
		first := count()
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, first, count())
		require.NotZero(t, p.do(t, "", "exec", "c", "true").code)
		p.out(t, "unpause", "c")
		eventually(t, func() bool { return count() != first }, "it counts again")
		p.out(t, "pause", "c")
		p.out(t, "rm", "-f", "-t", "0", "c")
	},
	"stats": func(t *testing.T, p client) {
		newContainer(t, p, "c", "-m", "64m", imageName, "sh", "-c", "while :; do :; done")
		text := p.out(t, "stats", "--no-stream", "--no-reset", "--format", "json", "c")
		var all []map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &all), text)
		require.Len(t, all, 1)
		require.Contains(t, all[0]["mem_usage"], "67.11MB", text)
		require.Equal(t, "1", all[0]["pids"], text)
		require.Contains(t, p.out(t, "top", "c", "pid", "comm"), "sh")
		require.Contains(t, p.out(t, "top", "c", "-o", "pid,comm"), "sh") // ps, in the container
	},
	"restart": func(t *testing.T, p client) {
		newContainer(t, p, "c", imageName, "sh", "-c", "echo started; sleep 1000")
		pid := func() string { return p.out(t, "inspect", "-f", "{{.State.Pid}}", "c") }
		first := pid()
		p.out(t, "restart", "-t", "0", "c")
		require.NotEqual(t, first, pid())
		p.out(t, "stop", "-t", "0", "c")
		require.Equal(t, "0", pid())
		p.out(t, "start", "c")
		eventually(t, func() bool { return p.out(t, "logs", "c") == "started\nstarted\nstarted" }, "three starts")
		newContainer(t, p, "d", "--restart", "on-failure:2", imageName, "sh", "-c", "echo try; exit 1")
		eventually(t, func() bool { return p.out(t, "logs", "d") == "try\ntry\ntry" }, "three tries")
		eventually(t, func() bool { return p.out(t, "inspect", "-f", "{{.State.Status}}", "d") == "exited" }, "exited")
	},
	"create": func(t *testing.T, p client) {
		p.out(t, "create", "--name", "c", imageName, "sh", "-c", "echo ran; exit 4")
		t.Cleanup(func() { p.out(t, "rm", "-f", "-t", "0", "c") })
		p.out(t, "init", "c")
		require.Equal(t, "initialized", p.out(t, "inspect", "-f", "{{.State.Status}}", "c"))
		r := p.do(t, "", "start", "-a", "c")
		require.Equal(t, result{"ran", "", 4}, r)
		p.out(t, "create", "--name", "never", imageName, "true")
		p.out(t, "init", "never")
		p.out(t, "rm", "-f", "-t", "0", "never") // created, never started
	},
	"cp": func(t *testing.T, p client) {
		newContainer(t, p, "c", imageName, "sleep", "1000")
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, []byte("copied"), 0o644))
		p.out(t, "cp", file, "c:/tmp/file")
		require.Equal(t, "copied", p.out(t, "exec", "c", "cat", "/tmp/file"))
		p.out(t, "cp", "c:/tmp/file", file+"2")
		b, err := os.ReadFile(file + "2")
		require.NoError(t, err)
		require.Equal(t, "copied", string(b))
		require.Contains(t, p.out(t, "diff", "c"), "/tmp/file")
		mounted := p.out(t, "mount", "c")
		require.FileExists(t, filepath.Join(mounted, "tmp/file"))
		p.out(t, "unmount", "c")
	},
	"pod": func(t *testing.T, p client) {
		p.out(t, "pod", "create", "--name", "pod", "--share", "net,ipc,uts,pid", "--hostname", "pea", "--infra-image", imageName,
			"--infra-command", "busybox syslogd -n") // which hears SIGTERM as process 1, too
		t.Cleanup(func() { p.out(t, "pod", "rm", "-f", "-t", "0", "pod") })
		for _, name := range []string{"one", "two"} {
			p.out(t, "run", "-d", "--pod", "pod", "--name", name, imageName, "sleep", "1000")
		}
		for _, ns := range []string{"net", "ipc", "uts", "pid"} {
			one := p.out(t, "exec", "one", "readlink", "/proc/self/ns/"+ns)
			require.Equal(t, one, p.out(t, "exec", "two", "readlink", "/proc/self/ns/"+ns))
			own, err := os.Readlink("/proc/self/ns/" + ns)
			require.NoError(t, err)
			require.NotEqual(t, own, one)
		}
		require.NotEqual(t, p.out(t, "exec", "one", "readlink", "/proc/self/ns/mnt"), p.out(t, "exec", "two", "readlink", "/proc/self/ns/mnt"))
		require.Equal(t, "pea", p.out(t, "exec", "one", "hostname"))
		require.GreaterOrEqual(t, strings.Count(p.out(t, "exec", "one", "ps"), "sleep"), 2)
		p.out(t, "pod", "pause", "pod")
		require.Equal(t, "paused", p.out(t, "inspect", "-f", "{{.State.Status}}", "two"))
		p.out(t, "pod", "unpause", "pod")
		p.out(t, "pod", "top", "pod")
		p.out(t, "pod", "stop", "-t", "0", "pod")
		p.out(t, "pod", "start", "pod")
		p.out(t, "pod", "restart", "pod")
		require.Equal(t, "running", p.out(t, "inspect", "-f", "{{.State.Status}}", "one"))
		p.out(t, "pod", "kill", "pod")
	},
	"userns": func(t *testing.T, p client) {
		uids := func(args ...string) []string {
			all := append(append([]string{"run", "--rm"}, args...), imageName, "cat", "/proc/self/uid_map")
			return strings.Fields(p.out(t, all...))
		}
		require.Equal(t, []string{"0", "200000", "1000"}, uids("--uidmap", "0:200000:1000", "--gidmap", "0:200000:1000"))
		auto := uids("--userns", "auto:size=2000")
		require.Equal(t, "2000", auto[2])
		require.NotEqual(t, "0", auto[1])
		newContainer(t, p, "c", "--uidmap", "0:200000:3000", imageName, "sleep", "1000")
		require.Equal(t, "0", p.out(t, "exec", "c", "id", "-u"))
		require.Equal(t, "1000", p.out(t, "exec", "-u", "app", "c", "id", "-u"))
		pid := p.out(t, "inspect", "-f", "{{.State.Pid}}", "c")
		status, err := os.ReadFile("/proc/" + pid + "/status")
		require.NoError(t, err)
		require.Contains(t, string(status), "Uid:\t200000\t")
	},
	"health": func(t *testing.T, p client) {
		newContainer(t, p, "c", "--health-cmd", "cat /tmp/well", "--health-interval", "disable", "--health-retries", "1", imageName, "sleep", "1000")
		p.fails(t, 1, "healthcheck", "run", "c")
		p.out(t, "exec", "c", "touch", "/tmp/well")
		p.out(t, "healthcheck", "run", "c")
		require.Equal(t, "healthy", p.out(t, "inspect", "-f", "{{.State.Health.Status}}", "c"))
	},
	"rootfs": func(t *testing.T, p client) {
		rootfs := testenv.NewRootfs(t)
		busybox, err := os.ReadFile(client{"which"}.out(t, "busybox"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(rootfs, "bin/busybox"), busybox, 0o755))
		require.Equal(t, "from a folder", p.out(t, "run", "--rm", "--rootfs", rootfs, "/bin/busybox", "echo", "from a folder"))
	},
}

// outOfMemory has a child killed for want of memory, and ends with 8 when it is told to.
const outOfMemory = "trap 'exit 8' TERM; busybox tail /dev/zero; while :; do sleep 0.1; done"

// newContainer runs a container in the background and removes it when the test ends.
func newContainer(t *testing.T, c client, name string, args ...string) {
	t.Helper()
	c.out(t, append([]string{"run", "-d", "--name", name}, args...)...)
	remove := []string{"rm", "-f"}
	if slices.Contains(c, "podman") { // it would give the container ten seconds
		remove = append(remove, "-t", "0")
	}
	t.Cleanup(func() { c.do(t, "", append(remove, name)...) })
}

// ownCapabilities is the line of /proc/self/status with all capabilities that can be had here.
func ownCapabilities(t *testing.T) string {
	t.Helper()
	return client{"grep", "CapEff", "/proc/self/status"}.out(t)
}
