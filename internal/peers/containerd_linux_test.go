package peers

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

const containerdConf = `
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
	"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
`

// newContainerd starts containerd, in its usual folders. run is the start of a `ctr run`.
func newContainerd(t *testing.T, m *machine) (ctr, run client, again func()) {
	t.Helper()
	conf := filepath.Join(m.Dir, "containerd.toml")
	require.NoError(t, os.WriteFile(conf, []byte(containerdConf), 0o644))
	start := func() *server { return newServer(t, m.Dir, client{"ctr", "version"}, "containerd", "--config", conf) }
	s := start()
	ctr = client{"ctr"}
	ctr.out(t, "images", "import", newImage(t, m.Dir))
	run = client{"ctr", "run", "--runtime", "io.containerd.runc.v2", "--runc-binary", m.Runtime}
	return ctr, run, func() {
		s.stop(t, syscall.SIGKILL)
		s = start()
	}
}

// TestContainerd is a container's everyday life by containerd and its shim.
func TestContainerd(t *testing.T) {
	if os.Getenv(envRuntime) == "" {
		testenv.RequireCommand(t, "containerd", "ctr", "containerd-shim-runc-v2", "busybox", "script")
	}
	inMachines(t, func(t *testing.T, m *machine) {
		ctr, run, again := newContainerd(t, m)
		runs := client(append(append(client{}, run...), "--rm"))
		start := func(t *testing.T, id string, args ...string) {
			t.Helper()
			at := len(args)
			for i, a := range args {
				if a == imageName {
					at = i
				}
			}
			all := append([]string{"-d"}, args[:at+1]...)
			run.out(t, append(append(all, id), args[at+1:]...)...)
			t.Cleanup(func() {
				ctr.do(t, "", "tasks", "kill", "-s", "KILL", id)
				ctr.do(t, "", "tasks", "delete", "-f", id)
				ctr.out(t, "containers", "rm", id)
			})
		}
		status := func(t *testing.T, id string) string {
			t.Helper()
			for line := range strings.Lines(ctr.out(t, "tasks", "ls")) {
				if f := strings.Fields(line); f[0] == id {
					return f[2]
				}
			}
			return ""
		}
		t.Run("run", func(t *testing.T) {
			require.Equal(t, "hi", runs.out(t, imageName, "a", "echo", "hi"))
			runs.fails(t, 7, imageName, "a", "sh", "-c", "exit 7")
			require.Contains(t, runs.fails(t, 1, imageName, "a", "/absent"), "no such file")
			r := runs.do(t, "", imageName, "a", "sh", "-c", "echo out; echo err >&2")
			require.Equal(t, result{"out", "err", 0}, r)
			r = runs.do(t, "spoken\n", imageName, "a", "sh", "-c", "read a; echo $a") // ctr does not pass the end on
			require.Equal(t, "spoken", r.out)
			require.Equal(t, "v /tmp", runs.out(t, "--env", "A=v", "--cwd", "/tmp", imageName, "a", "sh", "-c", "echo $A $(pwd)"))
			require.NotZero(t, runs.do(t, "", "--read-only", imageName, "a", "touch", "/file").code)
			require.Equal(t, ownCapabilities(t), runs.out(t, "--privileged", imageName, "a", "grep", "CapEff", "/proc/self/status"))
			require.Equal(t, "2", strings.Fields(runs.out(t, "--seccomp", imageName, "a", "grep", "Seccomp:", "/proc/self/status"))[1])
			require.Equal(t, "kept", runs.out(t, "--mount", "type=bind,src="+m.Dir+",dst=/data,options=rbind:ro", imageName, "a", "sh", "-c",
				"test -f /data/image.tar && echo kept"))
			require.NotEmpty(t, runs.out(t, "--net-host", imageName, "a", "ls", "/sys/class/net"))
			require.Equal(t, []string{"0", "200000", "1000"}, strings.Fields(runs.out(t, "--uidmap", "0:200000:1000", "--gidmap", "0:200000:1000",
				imageName, "a", "cat", "/proc/self/uid_map")))
		})
		t.Run("terminal", func(t *testing.T) {
			r := runs.terminal(t, "", "-t", imageName, "a", "sh", "-c", sized+"; stty size; tty")
			require.Equal(t, 0, r.code, r.out)
			require.Contains(t, r.out, "33 99\n/dev/pts/0")
			start(t, "b", imageName, "sleep", "1000")
			r = ctr.terminal(t, "", "tasks", "exec", "-t", "--exec-id", "x", "b", "sh", "-c", sized+"; stty size; tty; exit 5")
			require.Equal(t, 5, r.code, r.out)
			require.Contains(t, r.out, "33 99\n/dev/pts/")
		})
		t.Run("task", func(t *testing.T) {
			start(t, "c", "--memory-limit", "67108864", "--cpus", "0.5", imageName, "sleep", "1000")
			require.Equal(t, "RUNNING", status(t, "c"))
			require.Equal(t, "hi", ctr.out(t, "tasks", "exec", "--exec-id", "x", "c", "echo", "hi"))
			ctr.fails(t, 9, "tasks", "exec", "--exec-id", "x", "c", "sh", "-c", "exit 9")
			require.Contains(t, ctr.fails(t, 1, "tasks", "exec", "--exec-id", "x", "c", "/absent"), "no such file")
			require.Equal(t, "1000", ctr.out(t, "tasks", "exec", "--user", "1000", "--exec-id", "x", "c", "id", "-u"))
			require.Equal(t, "67108864", client{"cat", "/sys/fs/cgroup/memory/default/c/memory.limit_in_bytes"}.out(t))
			require.Equal(t, "50000", client{"cat", "/sys/fs/cgroup/cpu/default/c/cpu.cfs_quota_us"}.out(t))
			require.Len(t, strings.Split(ctr.out(t, "tasks", "ps", "c"), "\n"), 2)
			require.Contains(t, ctr.out(t, "tasks", "metrics", "c"), "memory.usage_in_bytes")
			ctr.out(t, "tasks", "pause", "c")
			require.Equal(t, "PAUSED", status(t, "c"))
			ctr.out(t, "tasks", "resume", "c")
			require.Equal(t, "RUNNING", status(t, "c"))
			ctr.out(t, "tasks", "exec", "--detach", "--exec-id", "y", "c", "sleep", "1000")
			ctr.out(t, "tasks", "kill", "--exec-id", "y", "c")
			eventually(t, func() bool { return len(strings.Split(ctr.out(t, "tasks", "ps", "c"), "\n")) == 2 }, "one process")
			require.NotZero(t, ctr.do(t, "", "tasks", "delete", "c").code, "it runs")
			ctr.out(t, "tasks", "kill", "-s", "KILL", "c")
			eventually(t, func() bool { return status(t, "c") == "STOPPED" }, "STOPPED")
			require.Contains(t, ctr.do(t, "", "tasks", "delete", "c").errs, "exit code 137")
			ctr.out(t, "tasks", "start", "-d", "c")
			require.Equal(t, "RUNNING", status(t, "c"))
		})
		t.Run("signals", func(t *testing.T) {
			start(t, "d", imageName, "sh", "-c", "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.1; done")
			eventually(t, func() bool { return ctr.do(t, "", "tasks", "exec", "--exec-id", "x", "d", "ls", "/ready").code == 0 }, "ready")
			ctr.out(t, "tasks", "kill", "d")
			eventually(t, func() bool { return status(t, "d") == "STOPPED" }, "STOPPED")
			require.Contains(t, ctr.do(t, "", "tasks", "delete", "d").errs, "exit code 3")
		})
		t.Run("oom", func(t *testing.T) {
			start(t, "e", "--memory-limit", "16777216", imageName, "sh", "-c", "while :; do busybox tail /dev/zero; sleep 0.2; done")
			require.Contains(t, client{"sh", "-c", "ctr events | grep -m1 /tasks/oom"}.do(t, "").out, "/tasks/oom")
		})
		t.Run("restart", func(t *testing.T) { // containerd, that is
			start(t, "f", imageName, "sleep", "1000")
			again()
			require.Equal(t, "RUNNING", status(t, "f"))
			require.Equal(t, "hi", ctr.out(t, "tasks", "exec", "--exec-id", "x", "f", "echo", "hi"))
		})
		require.Len(t, strings.Split(ctr.out(t, "containers", "ls"), "\n"), 1)
		eventually(t, func() bool {
			entries, err := os.ReadDir("/run/containerd/runc/default")
			return err != nil || len(entries) == 0
		}, "the runtime's state is gone")
	})
}
