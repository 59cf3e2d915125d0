package namespace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func newListener(fd, pid int) *SeccompListener {
	_ = unix.SetNonblock(fd, true) // so that the runtime polls it
	return &SeccompListener{file: os.NewFile(uintptr(fd), listenerName), pid: pid, turn: make(chan struct{}, 1)}
}

// File is the listener's descriptor, to be handed to another process. It belongs to the listener.
func (l *SeccompListener) File() *os.File { return l.file }

// Close closes the listener.
func (l *SeccompListener) Close() error { return l.file.Close() }

// Receive waits for the next call, or until ctx ends. When every process with the filter has ended the error is io.EOF
// (Linux ≥ 5.9), after Close it satisfies os.ErrClosed.
func (l *SeccompListener) Receive(ctx context.Context) (*SeccompCall, error) {
	fail := func(err error) (*SeccompCall, error) {
		return nil, fmt.Errorf("receive from seccomp listener: %w", err)
	}
	select {
	case l.turn <- struct{}{}: // one at a time: the kernel's call blocks when another one was faster
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	conn, err := l.file.SyscallConn()
	if err != nil {
		return fail(os.ErrClosed)
	}
	_ = l.file.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = l.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var n notification
	var result error
	err = conn.Read(func(fd uintptr) bool {
		var done bool
		done, result = n.receive(int(fd))
		return done
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return fail(ctx.Err())
	case err != nil:
		return fail(os.ErrClosed)
	case result == io.EOF:
		return nil, io.EOF
	case result != nil:
		return fail(result)
	}
	return &SeccompCall{
		ID: n.id, Pid: int(n.pid), Arch: n.arch, Number: int(n.number), InstructionPointer: n.pointer, Args: n.args, listener: l,
	}, nil
}

// Send sends the message, and with its first byte the listener's descriptor (SCM_RIGHTS), to the stream socket at a path
// of the host. The listener here stays open. ctx bounds it.
func (l *SeccompListener) Send(ctx context.Context, socket string, message []byte) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("send seccomp listener: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var sent int
	err = withDescriptor(l.file, func(fd int) (err error) {
		sent, _, err = conn.(*net.UnixConn).WriteMsgUnix(message, unix.UnixRights(fd), nil)
		return err
	})
	if err == nil && sent < len(message) {
		_, err = conn.Write(message[sent:])
	}
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("send seccomp listener to %s: %w", socket, err)
	}
	return nil
}

// notification is struct seccomp_notif.
type notification struct {
	id      uint64
	pid     uint32
	_       uint32
	number  int32
	arch    uint32
	pointer uint64
	args    [6]uint64
}

// receive takes a notification if there is one; done says that there is no waiting for it.
func (n *notification) receive(fd int) (done bool, err error) {
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, 0); err != nil {
			if err == unix.EINTR {
				continue
			}
			return true, os.NewSyscallError("poll", err)
		}
		switch events := poll[0].Revents; {
		case events&unix.POLLIN != 0:
		case events != 0:
			return true, io.EOF
		default:
			return false, nil
		}
		*n = notification{}
		switch err := notifyIoctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n)); err {
		case unix.EINTR, unix.ENOENT: // the process was killed, or interrupted, meanwhile
		case nil:
			return true, nil
		default:
			return true, os.NewSyscallError("ioctl", err)
		}
	}
}

func notifyIoctl(fd int, request uint, arg unsafe.Pointer) error {
	_, err := notifyIoctlResult(fd, request, arg)
	return err
}

func notifyIoctlResult(fd int, request uint, arg unsafe.Pointer) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// Requests of ioctl(2) that golang.org/x/sys has no names for.
const (
	notifIDValid = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	notifAddFD   = 0x40182103 // SECCOMP_IOCTL_NOTIF_ADDFD
)

// do calls f with the listener's descriptor.
func (c *SeccompCall) do(what string, f func(fd int) error) error {
	err := withDescriptor(c.listener.file, f)
	if errors.Is(err, unix.ENOENT) {
		err = errNotThere
	}
	if err != nil {
		return fmt.Errorf("%s system call %d of process %d: %w", what, c.Number, c.Pid, err)
	}
	return nil
}

// Err is nil as long as the process waits for the answer, and then satisfies os.ErrProcessDone. What was found out about
// the process by its number before Err returned nil was about this one, not about a later one of the same number.
func (c *SeccompCall) Err() error {
	id := c.ID
	return c.do("ask about", func(fd int) error { return notifyIoctl(fd, notifIDValid, unsafe.Pointer(&id)) })
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

func (c *SeccompCall) answer(r response) error {
	r.id = c.ID
	return c.do("answer", func(fd int) error {
		return notifyIoctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	})
}

// Return makes the call return the value, without having been executed.
func (c *SeccompCall) Return(value int64) error { return c.answer(response{value: value}) }

// Fail makes the call fail with the error, without having been executed.
func (c *SeccompCall) Fail(errno syscall.Errno) error {
	return c.answer(response{errno: -int32(errno)})
}

// Continue lets the kernel execute the call, Linux ≥ 5.5. Its arguments may have changed since they were looked at: it is
// no means to keep a process from something.
func (c *SeccompCall) Continue() error {
	return c.answer(response{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// addFile is struct seccomp_notif_addfd.
type addFile struct {
	id                       uint64
	flags, from, at, fdFlags uint32
}

func (c *SeccompCall) add(f *os.File, o *AddFileOptions, flags uint32) (n int, err error) {
	if o == nil {
		o = &AddFileOptions{}
	}
	a := addFile{id: c.ID, flags: flags, fdFlags: unix.O_CLOEXEC}
	if o.Inherit {
		a.fdFlags = 0
	}
	if o.At < 0 {
		return -1, fmt.Errorf("add a file to process %d: descriptor %d: %w", c.Pid, o.At, unix.EBADF)
	}
	if o.At > 0 {
		a.flags, a.at = a.flags|unix.SECCOMP_ADDFD_FLAG_SETFD, uint32(o.At)
	}
	err = c.do("add a file at", func(fd int) error {
		return withDescriptor(f, func(from int) (err error) {
			a.from = uint32(from)
			n, err = notifyIoctlResult(fd, notifAddFD, unsafe.Pointer(&a))
			return err
		})
	})
	return n, err
}

// AddFile gives the process a descriptor of an open file, and returns its number there. The call still waits for its
// answer. Linux ≥ 5.9.
func (c *SeccompCall) AddFile(f *os.File, o *AddFileOptions) (int, error) { return c.add(f, o, 0) }

// ReturnFile gives the process a descriptor of an open file and makes the call return its number, both or neither.
// Linux ≥ 5.14.
func (c *SeccompCall) ReturnFile(f *os.File, o *AddFileOptions) error {
	_, err := c.add(f, o, unix.SECCOMP_ADDFD_FLAG_SEND)
	return err
}

// ReadMemory reads the process's memory from an address on, as far as it is there, and returns how many bytes that
// were: at least one, or there is an error. It takes CAP_SYS_PTRACE, or the user that the process runs as.
func (c *SeccompCall) ReadMemory(b []byte, addr uint64) (int, error) {
	n, err := c.read(b, addr)
	if e := c.Err(); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d at %#x: %w", c.Pid, addr, err)
	}
	return n, nil
}

func (c *SeccompCall) read(b []byte, addr uint64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return readMemory(c.Pid, b, addr)
}

// ReadString reads a string of at most limit bytes that ends with a zero byte, such as a path. A longer one is an error
// that satisfies errors.Is(err, syscall.ENAMETOOLONG).
func (c *SeccompCall) ReadString(addr uint64, limit int) (string, error) {
	const page = 4096
	var s []byte
	for len(s) <= limit {
		b := make([]byte, page-(addr+uint64(len(s)))%page) // not into a page that may not be there
		n, err := c.ReadMemory(b, addr+uint64(len(s)))
		if err != nil {
			return "", err
		}
		end := bytes.IndexByte(b[:n], 0)
		if end < 0 {
			s = append(s, b[:n]...)
			continue
		}
		if s = append(s, b[:end]...); len(s) <= limit {
			return string(s), nil
		}
	}
	return "", fmt.Errorf("read memory of process %d at %#x: string of more than %d bytes: %w", c.Pid, addr, limit,
		syscall.ENAMETOOLONG)
}

// readMemory and writeMemory reach into another process.
func readMemory(pid int, b []byte, addr uint64) (int, error) {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	return n, os.NewSyscallError("process_vm_readv", err)
}

func writeMemory(pid int, b []byte, addr uint64) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	_, err := unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	return os.NewSyscallError("process_vm_writev", err)
}
