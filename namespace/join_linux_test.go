package namespace

import (
	"bufio"
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// joinLaunch runs a command in all namespaces of a process.
func joinLaunch(p *Process, args ...string) *Launch {
	caps := DefaultCapabilitySet()
	in := Namespace{Join: p.PidFD()}
	return &Launch{
		Args: args, Capabilities: Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
		Namespaces: Namespaces{Mount: in, PID: in, Network: in, IPC: in, UTS: in, Cgroup: in},
	}
}

// started starts a launch and ends it with the test.
func started(t *testing.T, l *Launch) *Process {
	t.Helper()
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		_, err := p.Wait(context.Background())
		require.NoError(t, err)
		require.NoError(t, p.Close())
	})
	return p
}

func TestJoin(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	for range 20 {
		out, s := output(t, joinLaunch(p, "describe"))
		require.Zero(t, s.Code)
		require.Contains(t, out, "hostname box\n")
		require.NotContains(t, out, "pid 1\n")
		require.Contains(t, out, " /proc/sys ro,")
		require.Contains(t, out, "CapEff:\t00000000a80425fb")
	}
	// The thread that was in the container's PID namespace is back.
	self, err := os.Readlink("/proc/self/ns/pid_for_children")
	require.NoError(t, err)
	own, err := os.Readlink("/proc/self/ns/pid")
	require.NoError(t, err)
	require.Equal(t, own, self)
}

func TestJoinEnded(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	require.NoError(t, p.Signal(syscall.SIGKILL))
	_, err := p.Wait(t.Context())
	require.NoError(t, err)
	_, err = joinLaunch(p, "describe").Start(t.Context())
	require.ErrorIs(t, err, syscall.ESRCH)
}

func TestTTY(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "terminal")), "terminal")
	l.TTY, l.TTYSize, l.User.UID, l.User.GID = true, WinSize{Rows: 24, Cols: 80}, 1000, 1000
	l.Capabilities = Capabilities{}
	tryTTY(t, started(t, l))
	t.Run("join", func(t *testing.T) {
		j := joinLaunch(started(t, l), "/bin/terminal")
		j.TTY, j.TTYSize = true, WinSize{Rows: 24, Cols: 80}
		tryTTY(t, started(t, j))
	})
}

func tryTTY(t *testing.T, p *Process) {
	tty := p.TTY()
	defer tty.Close()
	require.NoError(t, tty.SetDeadline(time.Now().Add(10*time.Second)))
	lines := bufio.NewScanner(tty)
	read := func() string {
		require.True(t, lines.Scan(), lines.Err())
		return strings.TrimSuffix(lines.Text(), "\r")
	}
	require.Equal(t, "size 24 80", read())
	require.Contains(t, read(), "/dev/pts/")
	require.NoError(t, Resize(tty, WinSize{Rows: 50, Cols: 132}))
	require.Equal(t, "size 50 132", read())
	_, err := tty.WriteString("\x03")
	require.NoError(t, err)
	require.Equal(t, "interrupted", strings.TrimPrefix(read(), "^C")) // the signal may flush what is echoed
}

// terminal is a helper program on a terminal.
func terminal([]string) int {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGWINCH, syscall.SIGINT)
	size := func() {
		w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			println(err.Error())
			return
		}
		println("size", w.Row, w.Col)
	}
	size()
	l, _ := os.Readlink("/proc/self/fd/0")
	println(l)
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
		println(err.Error())
	} else {
		_ = f.Close()
	}
	for s := range c {
		if s == syscall.SIGINT {
			println("interrupted")
			time.Sleep(time.Hour) // the end of a session's leader may throw away what nobody has read from its terminal
		}
		size()
	}
	return 1
}
