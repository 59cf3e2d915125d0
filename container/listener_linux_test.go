package container_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

func init() { programs["mkdir"] = mkdirProgram }

// mkdirProgram makes a folder and says how that went.
func mkdirProgram(args []string) int {
	if err := os.Mkdir(args[1], 0o755); err != nil {
		fmt.Println(err)
		return 1
	}
	if st, err := os.Stat(args[1]); err == nil {
		fmt.Println("made with mode", st.Mode().Perm())
	} else {
		fmt.Println("made", err)
	}
	return 0
}

// notifying is a profile that notifies of the making of folders.
func notifying() *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Flags:         []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog},
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}},
	}
}

// answer answers the making of folders: below /made it is done here instead, in the container's root; elsewhere refused.
func answer(root string) func(*container.SeccompListener) {
	return func(l *container.SeccompListener) {
		defer l.Close()
		for {
			call, err := l.Receive(context.Background())
			if err != nil {
				return
			}
			args := call.Args[:]
			if container.SyscallName(call) == "mkdirat" {
				args = args[1:]
			}
			name, err := call.ReadString(args[0], 4096)
			switch {
			case err != nil:
				_ = call.Fail(syscall.EFAULT)
			case name == "/made":
				if err := os.Mkdir(filepath.Join(root, "made"), 0o711); err != nil {
					_ = call.Fail(syscall.EIO)
				}
				_ = call.Return(0)
			default:
				_ = call.Fail(syscall.EDQUOT)
			}
		}
	}
}

// TestSeccompNotify has the host answer a container's mkdir, and that of a command executed in it.
func TestSeccompNotify(t *testing.T) {
	c := newContainer(t, "mkdir", "/made")
	c.Seccomp, c.SeccompNotify = notifying(), answer(c.Root.String())
	require.Equal(t, "made with mode -rwx--x--x\n", output(t, c))

	c = newContainer(t, "trap")
	c.Seccomp, c.SeccompNotify = notifying(), answer(c.Root.String())
	ready(t, c)
	out, err := c.Command("mkdir", "/elsewhere").Output(t.Context())
	require.Error(t, err)
	require.Equal(t, "mkdir /elsewhere: disk quota exceeded\n", string(out))
	require.Equal(t, "made with mode -rwx--x--x\n", output2(t, c.Command("mkdir", "/made")))
	require.NoError(t, c.Stop(t.Context()))
}

// TestSeccompListenerPath has an agent at a socket answer, as OCI runtimes let it.
func TestSeccompListenerPath(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent")
	agent, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	defer agent.Close()
	type message struct {
		state specs.ContainerProcessState
		err   error
	}
	messages := make(chan message, 2)
	go func() {
		for range 2 {
			var m message
			var fd int
			if fd, m.state, m.err = receiveListener(agent); m.err == nil {
				m.err = syscall.Close(fd) // the calls that wait fail with ENOSYS
			}
			messages <- m
		}
	}()
	c := newContainer(t, "trap")
	c.Seccomp = notifying()
	c.Seccomp.ListenerPath, c.Seccomp.ListenerMetadata = socket, "for the agent"
	c.SeccompState = &specs.State{ID: "box", Bundle: "/srv/box", Annotations: map[string]string{"a": "b"}}
	ready(t, c)
	m := <-messages
	require.NoError(t, m.err)
	want := specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{"seccompFd"}, Pid: c.Pid(), Metadata: "for the agent",
		State: specs.State{
			Version: specs.Version, ID: "box", Status: specs.StateCreating, Pid: c.Pid(), Bundle: "/srv/box",
			Annotations: map[string]string{"a": "b"},
		},
	}
	require.Equal(t, want, m.state)

	p := c.Command("mkdir", "/elsewhere")
	out, err := p.Output(t.Context())
	require.Error(t, err)
	require.Equal(t, "mkdir /elsewhere: function not implemented\n", string(out))
	m = <-messages
	require.NoError(t, m.err)
	want.Pid, want.State.Status = m.state.Pid, specs.StateRunning
	require.NotEqual(t, c.Pid(), m.state.Pid)
	require.Equal(t, want, m.state)
	require.NoError(t, c.Stop(t.Context()))
}

// receiveListener takes a descriptor and what is said with it.
func receiveListener(agent *net.UnixListener) (fd int, state specs.ContainerProcessState, err error) {
	conn, err := agent.AcceptUnix()
	if err != nil {
		return -1, state, err
	}
	defer conn.Close()
	b, oob := make([]byte, 1<<16), make([]byte, 64)
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return -1, state, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return -1, state, fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, state, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	rest, err := io.ReadAll(conn)
	if err != nil {
		return -1, state, err
	}
	return fds[0], state, json.Unmarshal(append(b[:n], rest...), &state)
}

// TestSeccompListenerFails: without an agent nothing is started.
func TestSeccompListenerFails(t *testing.T) {
	c := newContainer(t, "mkdir", "/made")
	c.Seccomp = notifying()
	c.Seccomp.ListenerPath = filepath.Join(t.TempDir(), "nobody")
	err := c.Start(t.Context())
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "seccomp.listenerPath", start.Path)
	require.ErrorIs(t, err, os.ErrNotExist)

	// An agent that takes no connection any more, and a context that ends.
	socket := filepath.Join(t.TempDir(), "agent")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket}))
	require.NoError(t, syscall.Listen(fd, 0))
	waiting, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer waiting.Close()
	c = newContainer(t, "mkdir", "/made")
	c.Seccomp = notifying()
	c.Seccomp.ListenerPath = socket
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.Error(t, c.Start(ctx))
}

func TestSeccompListenerFields(t *testing.T) {
	agent := func(*container.SeccompListener) {}
	for _, x := range []struct {
		field string
		set   func(*container.Container)
	}{
		{"SeccompNotify", func(c *container.Container) { c.Seccomp = notifying() }},
		{"SeccompNotify", func(c *container.Container) { c.SeccompNotify = agent }},
		{"SeccompNotify", func(c *container.Container) {
			c.SeccompNotify, c.Seccomp = agent, &specs.LinuxSeccomp{DefaultAction: specs.ActLog}
		}},
		{"seccomp.listenerPath", func(c *container.Container) {
			c.SeccompNotify, c.Seccomp = agent, notifying()
			c.Seccomp.ListenerPath = "/run/agent"
		}},
		{"seccomp.listenerPath", func(c *container.Container) {
			c.Seccomp = notifying()
			c.Seccomp.ListenerPath = "agent"
		}},
		{"seccomp.listenerMetadata", func(c *container.Container) {
			c.SeccompNotify, c.Seccomp = agent, notifying()
			c.Seccomp.ListenerMetadata = "x"
		}},
	} {
		c := container.New(nil, "true")
		c.Root = newContainer(t).Root
		x.set(c)
		var start *container.StartError
		require.ErrorAs(t, c.Start(t.Context()), &start, x.field)
		require.Equal(t, "check", start.Step)
		require.Equal(t, x.field, start.Path)
	}
}
