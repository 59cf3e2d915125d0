package namespace

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The end of the report does not say whether the process executes the command or died on the way there: both close the
// descriptor. The process's name does, also of one that has ended since: while it sets itself up, it has a name that no
// executable can give it, since it contains a slash, and that no command could guess in order to pass for one that was
// never executed. When its set-up is done, it has another one of that kind, or says so in the report, which wakes the host
// program once more but needs no name to be read.

// setUpName and readyName are these names as the listing shows them. The dots become random digits.
const (
	setUpName = "caisson/......."
	readyName = "ready/......."
)

// setUpName is the address of the process's name during its set-up.
func (c *compiler) setUpName() arg {
	name := c.str(setUpName)
	c.nameAt = int(name.v) + 1
	return name
}

// sayReady says that the set-up is done: by the name, if the host program can read every process's, and else in the report.
func (c *compiler) sayReady() {
	if l := c.l; c.nameAt == 0 || c.user.own || l.keeper != nil || l.waits() || l.pause != nil || !privileged() || !ownProc() {
		c.call("write", unix.SYS_WRITE, c.report, c.str("r"), num(1)).about("report")
		return
	}
	name := c.str(readyName)
	c.readyAt = int(name.v) + 1
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NAME, prctlNames), name, num(0), num(0), num(0))
}

// ownProc says whether /proc is that of the program's PID namespace, in which it finds its processes by their numbers.
var ownProc = sync.OnceValue(func() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
})

// nameSetUp fills in the random part of the process's names, and returns them: "" for one that it does not have.
func (p *Program) nameSetUp() (setUp, ready string, err error) {
	var b [4]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return "", "", err
	}
	digits := hex.EncodeToString(b[:])
	fill := func(at int, pattern string) string {
		if at == 0 {
			return ""
		}
		name := p.data[at-1:][:len(pattern)]
		copy(name[strings.IndexByte(pattern, '.'):], digits)
		return string(name)
	}
	return fill(p.nameAt, setUpName), fill(p.readyAt, readyName), nil
}

// SettingUp says whether the process, which somebody else may have started, is setting itself up and does not execute its command yet: it has
// not all of its container's namespaces and privileges then. One that names itself like that is taken for one, too.
func (p *Process) SettingUp() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid))
	return err == nil && (isNamed(b, setUpName) || isNamed(b, readyName))
}

// AwaitSetUp waits until SettingUp is false.
func (p *Process) AwaitSetUp(ctx context.Context) error {
	for nap := time.Millisecond; p.SettingUp(); nap = min(2*nap, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(nap):
		}
	}
	return nil
}

// AwaitSettingUp waits until SettingUp is true of a process that was just made and does not execute its command before the caller lets it, or
// until it has ended. Where the program cannot see its processes' names it does not wait.
func (p *Process) AwaitSettingUp(ctx context.Context) error {
	if !ownProc() {
		return nil
	}
	for nap := 50 * time.Microsecond; !p.SettingUp(); nap = min(2*nap, 10*time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.pid)); err != nil {
			return nil
		}
		wait, cancel := context.WithTimeout(ctx, nap)
		err := p.AwaitEnd(wait)
		cancel()
		if err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// isNamed says whether a name is made by a pattern.
func isNamed(name []byte, pattern string) bool {
	fixed, _, _ := strings.Cut(pattern, ".")
	return bytes.HasPrefix(name, []byte(fixed))
}

// openComm opens the file that shows the name of a process that was just started.
func (s *starter) openComm(pid int) error {
	file := fmt.Sprintf("/proc/%d/comm", pid)
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		s.comm = fd
	}
	if err != nil && s.ready != "" {
		return &StartError{Step: "open", Path: file, Err: err}
	}
	return nil
}

// executed says whether a process whose report has ended, ready or not, executes the command or has done so. If another part of
// the program has reaped it, that is assumed of one that was ready.
func (s *starter) executed(p *Process, ready bool) bool {
	last := s.ready
	if last == "" {
		if last = s.name; !ready {
			return false
		}
	}
	const look = 1 // ms
	for timeout := 0; ; timeout = look {
		// Its descriptors are closed before the new name is set, but after its death the name does not change.
		ended := p.ended(timeout)
		var b [16]byte
		n, err := unix.Pread(s.comm, b[:], 0)
		switch name := strings.TrimSuffix(string(b[:max(n, 0)]), "\n"); {
		case err != nil:
			return true
		case name != last:
			// If it cannot say that it was ready, it may have died without a name of ours: it had no session of its own then.
			return s.ready == "" || name != s.name && ownSession(p.pid)
		case ended:
			return false
		}
	}
}

// ownSession says whether a process is the leader of its session, or has been reaped by another part of the program.
func ownSession(pid int) bool {
	sid, err := unix.Getsid(pid)
	return err != nil || sid == pid
}

// ended says whether the process has ended within the timeout, in milliseconds.
func (p *Process) ended(timeout int) (ended bool) {
	_ = withDescriptor(p.pidfd, func(fd int) error {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, timeout)
		ended = n > 0 && err == nil
		return nil
	})
	return ended
}
