package peers

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// userUnits are an ordinary user's service manager, as a login would have it started, without PAM, and what it starts: a bus.
var userUnits = map[string]string{
	"system/user@.service": `[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=%i
Slice=user-%i.slice
Environment=XDG_RUNTIME_DIR=/run/user/%i SYSTEMD_LOG_TARGET=null
ExecStart=/usr/lib/systemd/systemd --user --unit=peer.target
Delegate=pids memory cpu
KillMode=mixed
TasksMax=infinity
`,
	"user/peer.target": `[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
`,
	"user/dbus.socket": `[Unit]
DefaultDependencies=no
[Socket]
ListenStream=%t/bus
`,
	"user/dbus.service": `[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation
`,
}

// newUser adds an ordinary user to a virtual machine, and starts a service manager for them, which has control groups of its own.
func newUser(t *testing.T) {
	t.Helper()
	require.NoError(t, makeUsers())
	t.Cleanup(func() { client{"umount"}.out(t, "/etc") })
	for _, name := range []string{"newuidmap", "newgidmap"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(path, 0o755|os.ModeSetuid))
	}
	for name, text := range userUnits {
		path := filepath.Join("/etc/systemd", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	require.NoError(t, os.MkdirAll("/etc/containers", 0o755))
	require.NoError(t, os.WriteFile("/etc/containers/policy.json", []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o644))
	systemctl, unit := client{"systemctl"}, "user@"+strconv.Itoa(userID)
	systemctl.out(t, "daemon-reload")
	systemctl.out(t, "start", unit)
	t.Cleanup(func() {
		systemctl.out(t, "stop", unit)
		systemctl.do(t, "", "reset-failed")
	})
}

// TestSystemdRootlessPodman: what takes control groups of a container's life, by podman of an ordinary user to whose service manager
// systemd has delegated some.
func TestSystemdRootlessPodman(t *testing.T) {
	testenv.RequireSystemd(t)
	if !testenv.VM() {
		t.Skip("changes /etc")
	}
	testenv.RequireCommand(t, "minirunc", "podman", "conmon", "newuidmap", "newgidmap", "setpriv", "busybox")
	testenv.ReapOrphans(t)
	path, err := exec.LookPath("minirunc")
	require.NoError(t, err)
	m := &machine{Runtime: path, Name: "minirunc", Dir: newDir(t)}
	t.Setenv(envDir, m.Dir)
	newUser(t)
	id, home := strconv.Itoa(userID), "/var/lib/"+userName
	p := newPodman(t, m, "setpriv", "--reuid="+id, "--regid="+id, "--clear-groups", "env", "HOME="+home, "USER="+userName, "TMPDIR="+home,
		"XDG_RUNTIME_DIR=/run/user/"+id, "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/"+id+"/bus")
	p = append(p, "--cgroup-manager=systemd")

	pidFile := filepath.Join(home, "pid")
	name := p.out(t, "run", "-d", "--name", "c", "--pidfile", pidFile, "-m", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "77", imageName,
		"sh", "-c", "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done")
	group := func() string {
		t.Helper()
		b, err := os.ReadFile(pidFile)
		require.NoError(t, err)
		pid, err := strconv.Atoi(string(b))
		require.NoError(t, err)
		path := testenv.SystemdGroup(t, pid)
		require.True(t, strings.HasPrefix(path, "/user.slice/user-"+id+".slice/user@"+id+".service/"), path)
		return "/sys/fs/cgroup" + path
	}
	dir := group()
	require.Contains(t, dir, "/libpod-"+name+".scope")
	read := func(file string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		return strings.TrimSpace(string(b))
	}
	require.Equal(t, []string{"67108864", "50000 100000", "77"}, []string{read("memory.max"), read("cpu.max"), read("pids.max")})
	require.Equal(t, "67108864", p.out(t, "exec", "c", "cat", "/sys/fs/cgroup/memory.max"))
	p.out(t, "update", "--memory", "96m", "--cpus", "0.25", "c")
	require.Equal(t, []string{"100663296", "25000 100000"}, []string{read("memory.max"), read("cpu.max")})

	p.out(t, "pause", "c")
	require.Contains(t, read("cgroup.events"), "frozen 1")
	p.out(t, "unpause", "c")
	require.Contains(t, read("cgroup.events"), "frozen 0")
	var stats []map[string]any
	text := p.out(t, "stats", "--no-stream", "--no-reset", "--format", "json", "c")
	require.NoError(t, json.Unmarshal([]byte(text), &stats), text)
	require.Contains(t, stats[0]["mem_usage"], "/ 67.11MB", text)

	p.out(t, "restart", "-t", "60", "c")
	eventually(t, func() bool { return p.out(t, "logs", "c") == "up\nterm\nup" }, "up again")
	dir = group()
	p.out(t, "kill", "-s", "TERM", "c")
	require.Equal(t, "3", p.out(t, "wait", "c"))
	p.out(t, "rm", "c")
	require.NoDirExists(t, dir)

	p.fails(t, 137, "run", "--rm", "-m", "16m", "--memory-swap", "16m", imageName, "busybox", "tail", "/dev/zero")

	// Without systemd's help, in a scope of which all is the user's.
	at := slices.Index(p, "podman")
	plain := append(p[:at:at], "systemd-run", "--user", "--scope", "-q", "-p", "Delegate=yes", "podman", "--runtime", m.Runtime, "--cgroup-manager=cgroupfs")
	require.Equal(t, "67108864", plain.out(t, "run", "--rm", "-m", "64m", imageName, "cat", "/sys/fs/cgroup/memory.max"))

	p.out(t, "pod", "create", "--name", "pod", "--share", "ipc,uts", "--infra-image", imageName, "--infra-command", "sleep 1000")
	p.out(t, "run", "-d", "--pod", "pod", "--name", "c", "--pidfile", pidFile, imageName, "sleep", "1000")
	dir = group()
	require.Contains(t, dir, "libpod_pod_")
	p.out(t, "pod", "pause", "pod")
	require.Contains(t, read("cgroup.events"), "frozen 1")
	p.out(t, "pod", "unpause", "pod")
	p.out(t, "pod", "rm", "-f", "-t", "0", "pod")
	require.NoDirExists(t, dir)
}
