package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/caisson-engine/caisson/namespace"
)

// files are those that a container's process gets from the caller.
type files struct {
	tty    bool
	std    [3]*os.File
	extra  []*os.File
	listen int // descriptors by which sockets are handed on: sd_listen_fds(3)
}

// open takes over the command's standard files and preserved descriptors.
func (f *files) open(terminal bool, o *createOptions) error {
	switch {
	case terminal && o.detach && o.consoleSocket == "":
		return errors.New("cannot allocate tty if runc will detach without setting console socket")
	case !(terminal && o.detach) && o.consoleSocket != "":
		return errors.New("cannot use console socket if runc will not detach or allocate tty")
	case o.preserve < 0:
		return fmt.Errorf("preserve-fds: %d is negative", o.preserve)
	}
	f.tty = terminal
	f.std = [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	n := o.preserve
	if s := os.Getenv("LISTEN_FDS"); s != "" {
		listen, err := strconv.Atoi(s)
		if err != nil || listen < 0 {
			return fmt.Errorf("LISTEN_FDS: %q is not a number", s)
		}
		f.listen = listen
		n += listen
	}
	for i := range n {
		fd := 3 + i
		if !inherited(fd) {
			return fmt.Errorf("unable to stat preserved-fd %d: it is not open", fd)
		}
		f.extra = append(f.extra, os.NewFile(uintptr(fd), "fd "+strconv.Itoa(fd)))
	}
	return nil
}

// inherited says whether a descriptor is the caller's. What this program has opened is closed when it executes another.
func inherited(fd int) bool {
	fl, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	return errno == 0 && fl&syscall.FD_CLOEXEC == 0
}

// use gives them to the process.
func (f *files) use(l *namespace.Launch) {
	l.ExtraFiles = f.extra
	if f.listen > 0 {
		l.Env = append(l.Env, "LISTEN_FDS="+strconv.Itoa(f.listen), "LISTEN_PID=1")
	}
	if f.tty {
		return
	}
	l.Stdin, l.Stdout, l.Stderr = f.std[0], f.std[1], f.std[2]
	for _, s := range f.std {
		if ownable(s) {
			l.Own = append(l.Own, s)
		}
	}
}

// ownable says whether a standard file becomes the process's user's, so that it can be opened by the names in /dev: pipes,
// sockets and files, and terminals, but no other device.
func ownable(f *os.File) bool {
	st, err := f.Stat()
	if err != nil {
		return false
	}
	if st.Mode()&os.ModeDevice == 0 {
		return true
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	const ptsFirst, ptsLast = 136, 143
	major := sys.Rdev >> 8 & 0xfff
	return ok && st.Mode()&os.ModeCharDevice != 0 && major >= ptsFirst && major <= ptsLast
}
