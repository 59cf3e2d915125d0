package container_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/container"
)

// rounds is how often a race is run.
func rounds() int {
	if testing.Short() {
		return 5
	}
	return 25
}

// escapeByEntering: a process that enters a container still has descriptors of the host and all capabilities. One inside
// looks for the moment in which it can be traced, or what it has open be taken.
func escapeByEntering(t *testing.T) {
	// To be allowed to trace the processes of its user namespace is not to be allowed to trace those that come from outside.
	for name, change := range map[string]func(*container.Container){
		"default": func(*container.Container) {},
		"SYS_PTRACE in a user namespace": func(c *container.Container) {
			c.UIDMappings, c.GIDMappings, c.CapAdd = idMaps, idMaps, []string{"SYS_PTRACE"}
		},
		// The server is there all the time.
		"a fork server": func(c *container.Container) { c.ForkServer = true },
		"a fork server with SYS_PTRACE in a user namespace": func(c *container.Container) {
			c.ForkServer, c.UIDMappings, c.GIDMappings, c.CapAdd = true, idMaps, idMaps, []string{"SYS_PTRACE"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := attacker(t, "enter")
			change(c)
			in, err := c.StdinPipe()
			require.NoError(t, err)
			out := ready(t, c)
			for range rounds() / 5 { // the attacker leaves little time to others
				require.Equal(t, "hello\n", output2(t, c.Command("echo", "hello")))
			}
			require.NoError(t, in.Close())
			said, err := io.ReadAll(out)
			require.NoError(t, err)
			require.Equal(t, "held\n", string(said))
		})
	}
}

// escapeByTyping: the terminal that the host program has passed on gets a command typed into it, for the shell that goes on
// reading from it.
func escapeByTyping(t *testing.T) {
	c := attacker(t, "type")
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer ptmx.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0))
	name, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err := os.OpenFile("/dev/pts/"+itoa(name), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer terminal.Close()
	shell := exec.Command("sleep", "60") // whose controlling terminal it is
	shell.Stdin = terminal
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, shell.Start())
	defer func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
	}()
	c.Stdin = terminal
	requireHeld(t, c)
	fds := []unix.PollFd{{Fd: int32(terminal.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	require.NoError(t, err)
	require.Zero(t, n, "something was typed")
}

// escapeByExecutable: the entrypoint has what starts the container as its interpreter, to get hold of it as the host's
// executable. What is there is the stub, which is of no use a second time, and sealed.
func escapeByExecutable(t *testing.T) {
	evil := func(c *container.Container) {
		for _, name := range []string{"evil", "sh"} {
			require.NoError(t, os.WriteFile(filepath.Join(c.Root.String(), "bin", name), []byte("#!/proc/self/exe\n"), 0o755))
		}
	}
	requireStub := func(out []byte, err error) {
		var exit *container.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 126, exit.State.Code)
		require.Empty(t, out)
	}
	c := newContainer(t, "/bin/evil")
	evil(c)
	requireStub(c.CombinedOutput(t.Context()))
	c = newContainer(t, "trap")
	evil(c)
	ready(t, c)
	requireStub(c.Command("sh").CombinedOutput(t.Context()))
}

// escapeByLibrary: the host's process loads a library out of the image while it looks up a user there. All that could be
// loaded is a FIFO: whoever opens one waits forever.
func escapeByLibrary(t *testing.T) {
	c := newContainer(t, "id")
	root := c.Root.String()
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/nsswitch.conf"), []byte("passwd: evil files\ngroup: evil files\n"), 0o644))
	for _, dir := range []string{"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib", "usr/lib64"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
		for _, lib := range []string{"libnss_evil.so.2", "libnss_files.so.2", "libc.so.6", "libc.musl-x86_64.so.1"} {
			require.NoError(t, unix.Mkfifo(filepath.Join(root, dir, lib), 0o755))
		}
	}
	for _, name := range []string{"etc/ld.so.preload", "etc/ld.so.cache"} {
		require.NoError(t, unix.Mkfifo(filepath.Join(root, name), 0o755))
	}
	c.User, c.Hostname = "app", "box"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := c.Output(ctx)
	require.NoError(t, err)
	require.Equal(t, "1000 1000 [1000 2000 3000] / box 1\n", string(out))
}

// escapeByAbstractSocket: with the host's network an abstract socket of the engine's can be reached. There is none.
func escapeByAbstractSocket(t *testing.T) {
	before := abstractSockets(t)
	c := newContainer(t, "trap")
	c.Namespaces.Network.Host = true
	ready(t, c)
	require.Equal(t, "hello\n", output2(t, c.Command("echo", "hello")))
	names := []string{"@caisson-test-" + c.Cgroup}
	l, err := net.Listen("unix", names[0]) // to see that one would be found
	require.NoError(t, err)
	defer l.Close()
	for _, name := range abstractSockets(t) {
		if !slices.Contains(before, name) && name != names[0] {
			names = append(names, name)
		}
	}
	out, err := c.Command(append([]string{"attack", "sockets"}, names...)...).Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "reached "+names[0]+"\nheld\n", string(out))
	requireHeld(t, attacker(t, append([]string{"sockets"}, names...)...))
}

// abstractSockets returns the names of the network namespace's abstract sockets.
func abstractSockets(t *testing.T) (names []string) {
	b, err := os.ReadFile("/proc/net/unix")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 8 && strings.HasPrefix(f[7], "@") {
			names = append(names, f[7])
		}
	}
	return names
}

// escapeByWorkingDirectory: the working directory is a descriptor of the host that is still open while it is entered.
func escapeByWorkingDirectory(t *testing.T) {
	running := newContainer(t, "trap")
	ready(t, running)
	host, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0) // not closed on exec
	require.NoError(t, err)
	defer unix.Close(host)
	template := newContainer(t)
	for fd := range 24 {
		for _, proc := range []string{"self", "thread-self", "1"} {
			dir := "/proc/" + proc + "/fd/" + itoa(fd)
			if fd == host {
				dir += "/." // and below it
			}
			if proc == "self" {
				c := newContainerIn(t, template, "id")
				c.Dir = dir
				require.Error(t, c.Run(t.Context()), dir)
			}
			p := running.Command("id")
			p.Dir = dir
			require.Error(t, p.Run(t.Context()), dir)
		}
	}
}

// newContainerIn returns another container of the same root.
func newContainerIn(t *testing.T, other *container.Container, args ...string) *container.Container {
	c := container.New(other.Root, args...)
	c.Cgroup = other.Cgroup + "-" + itoa(int(time.Now().UnixNano()%1e9))
	t.Helper()
	return c
}

// escapeByConsole: what becomes the console is exchanged by the image, or by a volume of its own over /dev/pts.
func escapeByConsole(t *testing.T) {
	hostile := func(dir string) {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for _, name := range []string{"0", "console"} {
			require.NoError(t, os.Symlink("/proc/sysrq-trigger", filepath.Join(dir, name)))
		}
		require.NoError(t, unix.Mkfifo(filepath.Join(dir, "ptmx"), 0o666))
	}
	c := attacker(t, "console")
	hostile(filepath.Join(c.Root.String(), "dev"))
	hostile(filepath.Join(c.Root.String(), "dev/pts"))
	var out bytes.Buffer
	c.TTY, c.Stdout = true, &out
	err := c.Run(t.Context())
	require.Equal(t, "held\r\n", out.String())
	require.NoError(t, err)

	c = attacker(t, "console")
	volume := filepath.Join(t.TempDir(), "volume")
	hostile(volume)
	c.Mounts = []container.Mount{container.Bind(volume, "/dev/pts")}
	c.TTY, c.Stdout = true, &out
	var start *container.StartError
	require.ErrorAs(t, c.Run(t.Context()), &start)
	require.Equal(t, "terminal", start.Path)
}
