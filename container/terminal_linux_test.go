package container_test

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestNoInputForTheHostsTerminal passes the terminal of a session of the host's to a container as its standard input: it can
// neither push input to it nor make it its own, as root neither.
func TestNoInputForTheHostsTerminal(t *testing.T) {
	c := newContainer(t, "push")
	testenv.ReapOrphans(t) // the guardian of the session's leader
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer master.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer slave.Close()
	session := exec.Command("/proc/self/exe", "-test.run=^TestSessionOfATerminal$")
	session.Env = append(os.Environ(), "CAISSON_TEST_SESSION=1")
	hold, held, err := os.Pipe()
	require.NoError(t, err)
	session.Stdin, session.ExtraFiles = slave, []*os.File{hold}
	session.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, session.Start())
	defer func() {
		require.NoError(t, held.Close())
		require.NoError(t, session.Wait())
	}()
	require.NoError(t, hold.Close())

	c.Stdin = slave
	require.Equal(t, "push: refused\ntake: operation not permitted\npush: refused\n/dev/tty: no such device or address\n", output(t, c))
	pending, err := unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
	require.NoError(t, err)
	require.Zero(t, pending)
}

// TestSessionOfATerminal is the leader of another session, until it is let go.
func TestSessionOfATerminal(*testing.T) {
	if os.Getenv("CAISSON_TEST_SESSION") == "" {
		return
	}
	_, _ = os.NewFile(3, "hold").Read(make([]byte, 1))
}

// push is a program that tries to put a key into its terminal's input.
func push([]string) int {
	say := func(what string, err error) {
		text := what + ": ok\n"
		if err != nil {
			text = what + ": " + err.Error() + "\n"
		}
		if what == "push" && (err == unix.EPERM || err == unix.EIO) { // EIO: the kernel has it switched off, Linux ≥ 6.2
			text = "push: refused\n"
		}
		_, _ = os.Stdout.WriteString(text)
	}
	try := func() error {
		key := byte('x')
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&key))); e != 0 {
			return e
		}
		return nil
	}
	say("push", try())
	say("take", unix.IoctlSetInt(0, unix.TIOCSCTTY, 1))
	say("push", try())
	_, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
	say("/dev/tty", err)
	return 0
}
