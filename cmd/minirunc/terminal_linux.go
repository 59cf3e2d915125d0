package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/term"
)

// sendTerminal sends a terminal's other end to whoever listens at a unix socket.
func sendTerminal(socket string, tty *os.File) error {
	c, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	e := c.Control(func(fd uintptr) { err = sendDescriptor("console socket", socket, "/dev/ptmx", fd) })
	return errors.Join(e, err)
}

// sendPidfd sends a descriptor of a process of ours to whoever listens at a unix socket, if there is one.
func sendPidfd(socket string, pid int) error {
	if socket == "" {
		return nil
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		e := p.WithHandle(func(fd uintptr) { err = sendDescriptor("pidfd socket", socket, "pidfd", fd) })
		err = errors.Join(e, err, p.Release())
	}
	if errors.Is(err, os.ErrNoHandle) {
		err = fmt.Errorf("pidfd socket %s: pidfds, Linux ≥ 5.4: %w", socket, err)
	}
	return err
}

// sendDescriptor sends a descriptor with a name to a unix socket.
func sendDescriptor(what, socket, name string, descriptor uintptr) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		defer syscall.Close(fd)
		if err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err == nil {
			err = syscall.Sendmsg(fd, []byte(name), syscall.UnixRights(int(descriptor)), nil, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, socket, err)
	}
	return nil
}

// A console connects the caller's terminal to the container's.
type console struct {
	tty     *os.File
	restore func()
	resized chan os.Signal
	copied  chan struct{}
}

// attach makes the caller's terminal raw, if stdin is one, and copies both ways until done.
func attach(tty *os.File) *console {
	k := &console{tty: tty, restore: func() {}, resized: make(chan os.Signal, 1), copied: make(chan struct{})}
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		if old, err := term.MakeRaw(fd); err == nil {
			k.restore = func() { _ = term.Restore(fd, old) }
		}
		k.resize()
		signal.Notify(k.resized, syscall.SIGWINCH)
		go func() {
			for range k.resized {
				k.resize()
			}
		}()
	}
	go func() { _, _ = io.Copy(tty, os.Stdin) }()
	go func() {
		_, _ = io.Copy(os.Stdout, tty) // until EIO: nobody has the terminal any more
		close(k.copied)
	}()
	return k
}

// resize gives the container's terminal the size of the caller's.
func (k *console) resize() {
	var size struct{ rows, cols, x, y uint16 }
	ioctl := func(f *os.File, op uintptr) (ok bool) {
		c, err := f.SyscallConn()
		if err != nil {
			return false
		}
		_ = c.Control(func(fd uintptr) {
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, op, uintptr(unsafe.Pointer(&size)))
			ok = errno == 0
		})
		return ok
	}
	if ioctl(os.Stdin, syscall.TIOCGWINSZ) && (size.rows != 0 || size.cols != 0) {
		ioctl(k.tty, syscall.TIOCSWINSZ)
	}
}

// done waits for the last output and puts the caller's terminal back.
func (k *console) done() {
	<-k.copied
	signal.Stop(k.resized)
	close(k.resized)
	k.restore()
	_ = k.tty.Close()
}
