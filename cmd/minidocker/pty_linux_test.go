package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A terminal is the master of a pseudo-terminal and what has been written to it.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File

	mu     sync.Mutex
	output bytes.Buffer
	done   chan struct{}
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	c, err := f.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, c.Control(func(fd uintptr) {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)); e != 0 {
			err = e
		}
	}))
	require.NoError(t, err)
}

// newTerminal opens a pseudo-terminal.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	const unlock, number = 0x40045431, 0x80045430 // TIOCSPTLCK, TIOCGPTN
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	var locked, n int32
	ioctl(t, master, unlock, unsafe.Pointer(&locked))
	ioctl(t, master, number, unsafe.Pointer(&n))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	p := &terminal{t: t, master: master, slave: slave, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			p.mu.Lock()
			p.output.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = slave.Close()
		_ = master.Close()
		<-p.done
	})
	return p
}

func (p *terminal) resize(rows, cols uint16) {
	p.t.Helper()
	size := [4]uint16{rows, cols}
	ioctl(p.t, p.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}

// attributes returns the terminal's modes.
func (p *terminal) attributes() syscall.Termios {
	p.t.Helper()
	var a syscall.Termios
	ioctl(p.t, p.slave, syscall.TCGETS, unsafe.Pointer(&a))
	return a
}

// start starts a command whose controlling terminal it is.
func (p *terminal) start(path string, env []string, args ...string) *exec.Cmd {
	p.t.Helper()
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdin, c.Stdout, c.Stderr = p.slave, p.slave, p.slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(p.t, c.Start())
	return c
}

func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// send types text.
func (p *terminal) send(text string) {
	p.t.Helper()
	_, err := p.master.WriteString(text)
	require.NoError(p.t, err)
}

// expect waits until want is written and forgets what is up to there.
func (p *terminal) expect(want string) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		if i := strings.Index(p.output.String(), want); i >= 0 {
			p.output.Next(i + len(want))
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if time.Now().After(deadline) {
			require.Failf(p.t, "not written", "%q in %q", want, p.text())
		}
	}
}

// waitStatus waits for a command and returns its exit status; it is killed if it takes too long.
func waitStatus(t *testing.T, c *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	err := c.Wait()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return c.ProcessState.ExitCode()
}

// interact starts an interactive shell of an image on a terminal and tries it: it sees the terminal's size, and its changes.
func interact(t *testing.T, env []string, image string, shell ...string) {
	t.Helper()
	p := newTerminal(t)
	p.resize(30, 100)
	before := p.attributes()
	args := append([]string{"run", "-it", "--rm", "-e", "PS1=prompt> ", image}, shell...)
	c := p.start(newCommand(t), env, args...)
	p.expect("prompt> ")
	require.NotEqual(t, before.Lflag, p.attributes().Lflag, "the host's terminal is raw while the shell runs")
	p.send("tty; stty size\n")
	p.expect("/dev/pts/0")
	p.expect("30 100")
	p.resize(43, 132)
	p.send("sleep 0.2; stty size\n")
	p.expect("43 132")
	p.send("sleep 100\n")
	time.Sleep(300 * time.Millisecond)
	p.send("\x03") // ^C ends the sleep, not the shell
	p.expect("prompt> ")
	p.send("exit 5\n")
	require.Equal(t, 5, waitStatus(t, c))
	require.Equal(t, before, p.attributes(), "the host's terminal is as before")
}

func TestInteractiveShell(t *testing.T) {
	testenv.ReapOrphans(t)
	host := newRegistry(t)
	env := []string{"CAISSON_ROOT=" + t.TempDir()}
	interact(t, env, host+"/busybox", "sh")
}

// The pull on a terminal has a line a layer that is drawn anew.
func TestPullOnTerminal(t *testing.T) {
	host := newRegistry(t)
	p := newTerminal(t)
	p.resize(24, 80)
	c := p.start(newCommand(t), []string{"CAISSON_ROOT=" + t.TempDir()}, "pull", host+"/configured")
	p.expect("latest: Pulling from ")
	p.expect(": Pulling fs layer\r\n")
	p.expect("\x1b[2A\r\x1b[2K") // up to the first of two lines
	p.expect(": Pull complete\x1b[")
	p.expect("Status: Downloaded newer image for ")
	require.Zero(t, waitStatus(t, c))
}

// The keys leave a container running, and its terminal is found again.
func TestDetachKeys(t *testing.T) {
	testenv.ReapOrphans(t)
	host := newRegistry(t)
	env := []string{"CAISSON_ROOT=" + t.TempDir()}
	p := newTerminal(t)
	before := p.attributes()
	c := p.start(newCommand(t), env, "run", "-it", "--name", "left", "--detach-keys", "ctrl-a,b", "-e", "PS1=prompt> ", host+"/busybox", "sh")
	p.expect("prompt> ")
	p.send("A=kept\n")
	p.expect("prompt> ")
	p.send("\x01b")
	require.Zero(t, waitStatus(t, c))
	require.Equal(t, before, p.attributes(), "the host's terminal is as before")
	c = p.start(newCommand(t), env, "attach", "left")
	p.send("echo $A again\n")
	p.expect("kept again")
	p.send("\x10\x11")
	require.Zero(t, waitStatus(t, c))
	c = p.start(newCommand(t), env, "attach", "left")
	p.send("exit 7\n")
	require.Equal(t, 7, waitStatus(t, c))
}
