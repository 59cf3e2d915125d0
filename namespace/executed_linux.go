package namespace

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"
)

// The end of the report does not say whether the process executes the command or died on the way there: both close the
// descriptor. The process's name does, also of one that has ended since: while it sets itself up, it has a name that no
// executable can give it, since it contains a slash, and that no command could guess in order to pass for one that was
// never executed.

// setUpName is that name as the listing shows it. The dots become random digits.
const setUpName = "caisson/......."

// setUpName is the address of the process's name during its set-up.
func (c *compiler) setUpName() arg {
	name := c.str(setUpName)
	c.nameAt = int(name.v) + 1
	return name
}

// nameSetUp fills in the random part of the process's name, and returns the name.
func (p *Program) nameSetUp() string {
	if p.nameAt == 0 {
		return ""
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	name := p.data[p.nameAt-1:][:len(setUpName)]
	copy(name[len("caisson/"):], hex.EncodeToString(b[:]))
	return string(name)
}

// openComm opens the file that shows the name of a process that was just started.
func (s *starter) openComm(pid int) {
	if fd, err := unix.Open(fmt.Sprintf("/proc/%d/comm", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		s.comm = fd
	}
}

// executed says whether a process that was ready, and whose report has ended, executes the command or has done so. If the
// process's name cannot be read, that is assumed.
func (s *starter) executed(p *Process) bool {
	const look = 1 // ms
	for timeout := 0; ; timeout = look {
		// Its descriptors are closed before the new name is set, but after its death the name does not change.
		ended := p.ended(timeout)
		var b [16]byte
		n, err := unix.Pread(s.comm, b[:], 0)
		if err != nil || n != len(s.name)+1 || string(b[:n-1]) != s.name {
			return true
		}
		if ended {
			return false
		}
	}
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
