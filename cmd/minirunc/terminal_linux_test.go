package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// takeTerminal listens at a socket, starts the command, and returns what the terminal that comes shows until its end.
func takeTerminal(t *testing.T, socket string, start func()) string {
	t.Helper()
	tty := takeDescriptor(t, socket, start)
	defer tty.Close()
	b, _ := io.ReadAll(tty) // ends with EIO
	return string(b)
}

// takeDescriptor listens at a socket, starts the command, and returns the descriptor that comes.
func takeDescriptor(t *testing.T, socket string, start func()) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	start()
	c, err := l.AcceptUnix()
	require.NoError(t, err)
	defer c.Close()
	name, oob := make([]byte, 100), make([]byte, 100)
	size, n, _, _, err := c.ReadMsgUnix(name, oob)
	require.NoError(t, err)
	msgs, err := syscall.ParseSocketControlMessage(oob[:n])
	require.NoError(t, err)
	fds, err := syscall.ParseUnixRights(&msgs[0])
	require.NoError(t, err)
	require.Len(t, fds, 1)
	return os.NewFile(uintptr(fds[0]), string(name[:size]))
}

// TestPidfdSocket: whoever listens gets a descriptor of the process.
func TestPidfdSocket(t *testing.T) {
	m := newMade(t, "sleep")
	m.write()
	socket, pidFile := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "pid")
	m.fails(1, socket, "create", "--pidfd-socket", socket, "c") // nobody listens
	require.Empty(t, m.left())
	check := func(args ...string) {
		f := takeDescriptor(t, socket, func() { m.ok(append(args, "c")...) })
		defer f.Close()
		require.Equal(t, "pidfd", f.Name())
		pid, err := os.ReadFile(pidFile)
		require.NoError(t, err)
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
		require.NoError(t, err)
		require.Contains(t, string(info), "\nPid:\t"+string(pid)+"\n")
	}
	check("create", "--pid-file", pidFile, "--pidfd-socket", socket)
	m.ok("start", "c")
	f := takeDescriptor(t, socket, func() { m.ok("exec", "-d", "--pid-file", pidFile, "--pidfd-socket", socket, "c", "probe", "exit") })
	require.NoError(t, f.Close())
	m.reap(pidFile)
	m.ok("delete", "--force", "c")
	check("run", "-d", "--pid-file", pidFile, "--pidfd-socket", socket)
}

func TestConsoleSocket(t *testing.T) {
	m := newMade(t, "ids")
	m.spec.Process.Terminal = true
	m.write()
	m.fails(1, "cannot allocate tty if runc will detach without setting console socket", "create", "c")
	socket := filepath.Join(t.TempDir(), "s")
	m.fails(1, socket, "create", "--console-socket", socket, "c") // nobody listens
	require.Empty(t, m.left())
	text := takeTerminal(t, socket, func() { m.ok("run", "--detach", "--console-socket", socket, "c") })
	require.Equal(t, "1 0 0 [] /  /root\r\n", text)
	m.ok("delete", "--force", "c")

	m.spec.Process.Terminal, m.spec.Process.Args = false, []string{"probe", "sleep"}
	m.write()
	m.fails(1, "cannot use console socket if runc will not detach or allocate tty", "create", "--console-socket", socket, "c")
	m.ok("run", "-d", "c")
	pidFile := filepath.Join(t.TempDir(), "pid")
	text = takeTerminal(t, socket, func() {
		m.ok("exec", "-t", "-d", "--pid-file", pidFile, "--console-socket", socket, "c", "probe", "ids")
	})
	m.reap(pidFile) // the container cannot end before
	require.Contains(t, text, " 0 0 [] /  /root\r\n")
}

// TestForegroundTerminal: without a console socket the terminal is the caller's.
func TestForegroundTerminal(t *testing.T) {
	m := newMade(t, "ids")
	m.spec.Process.Terminal = true
	m.write()
	require.Equal(t, "1 0 0 [] /  /root\r\n", m.ok("run", "c"))
	m.spec.Process.Args = []string{"probe", "exit", "6"}
	m.write()
	require.Equal(t, 6, m.do("run", "c").run())
}

// TestNetDevices moves a device of the host's, here a namespace of the test's own, into the container.
func TestNetDevices(t *testing.T) {
	testenv.RequireCommand(t, "ip", "nsenter")
	m := newMade(t, "cat", "/proc/net/dev", "/proc/net/fib_trie")
	ns := testenv.NewNetns(t)
	in := func(args ...string) string {
		b, err := exec.Command("nsenter", append([]string{"--net=" + ns}, args...)...).CombinedOutput()
		require.NoError(t, err, string(b))
		return string(b)
	}
	in("ip", "link", "add", "dum0", "type", "veth", "peer", "name", "dum1")
	in("ip", "addr", "add", "192.0.2.7/24", "dev", "dum0")
	in("ip", "link", "set", "dum0", "up")
	run := func(args ...string) *doing {
		d := m.do(args...)
		d.Path, d.Args = "/usr/bin/nsenter", append([]string{"nsenter", "--net=" + ns, "/proc/self/exe"}, d.Args[1:]...)
		self, err := os.Executable()
		require.NoError(t, err)
		link := filepath.Join(t.TempDir(), "minirunc")
		require.NoError(t, os.Symlink(self, link))
		d.Args[2] = link
		d.run()
		return d
	}
	m.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"dum0": {Name: "eth5"}, "nothing": {}}
	m.write()
	d := run("run", "c")
	require.Contains(t, d.stderr.String(), "linux.netDevices.nothing: ")
	require.Contains(t, in("ip", "addr", "show", "dum0"), "192.0.2.7/24", "it came back")
	require.Contains(t, in("ip", "link", "show", "dum0"), "UP")

	// Two that swap their names, and come back since a third is not there; and a create that fails later on.
	in("ip", "link", "set", "dum1", "up")
	m.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"dum0": {Name: "dum1"}, "dum1": {Name: "dum0"}, "nothing": {}}
	m.write()
	d = run("run", "c")
	require.Contains(t, d.stderr.String(), "linux.netDevices.nothing: ")
	require.Contains(t, in("ip", "addr", "show", "dum0"), "192.0.2.7/24")
	require.Contains(t, in("ip", "link", "show", "dum0"), "UP")
	require.Contains(t, in("ip", "link", "show", "dum1"), "UP")
	m.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"dum0": {Name: "same"}, "dum1": {Name: "same"}}
	m.write()
	d = run("run", "c")
	require.Contains(t, d.stderr.String(), "is another device's name, too")
	m.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"dum0": {Name: "eth5"}}
	m.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/false"}}}
	m.write()
	d = run("run", "c")
	require.Contains(t, d.stderr.String(), "hooks.createRuntime[0]")
	require.Contains(t, in("ip", "addr", "show", "dum0"), "192.0.2.7/24")
	require.Contains(t, in("ip", "link", "show", "dum0"), "UP")

	m.spec.Hooks = nil
	m.write()
	out := run("run", "c").stdout.String()
	require.Contains(t, out, "eth5:")
	require.Contains(t, out, "192.0.2.7")
	require.False(t, strings.Contains(out, "dum0"), out)

	in("ip", "link", "add", "swap0", "type", "veth", "peer", "name", "swap1")
	in("ip", "addr", "add", "192.0.2.8/24", "dev", "swap0")
	in("ip", "link", "set", "swap0", "up")
	in("ip", "link", "set", "swap1", "mtu", "1400")
	m.spec.Process.Args = []string{"probe", "cat", "/sys/class/net/swap0/mtu", "/proc/net/fib_trie"}
	m.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"swap0": {Name: "swap1"}, "swap1": {Name: "swap0"}}
	m.write()
	d = run("run", "c")
	require.Contains(t, d.stdout.String(), "1400\n", d.stderr.String())
	require.Contains(t, d.stdout.String(), "192.0.2.8")
}
