package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Park starts a process as [Launch.Start] does, up to the execution of its command: it is all set up, its credentials given up
// and its seccomp filter loaded, and waits for [Unpark], of this program or another one. It outlives the program: with Created
// from the time on when that has returned, so that what Created notes of the process is there if the process is. The command
// is looked for: one that is not there, or may not be executed, is an error here.
//
// dir is a folder in which the process is found; it holds one. Two named pipes are made there, "exec.fifo" and "report.fifo",
// which the caller removes with the folder. After an error they are gone. The filter must let the process read(2), write(2) and
// execute. Gate and Keep must be nil, and Init is not set. With CgroupPaths see [Process.JoinCgroups].
func (l *Launch) Park(ctx context.Context, dir string) (_ *Process, err error) {
	if l.Gate != nil || l.Keep != nil || l.Init {
		return nil, bad("Gate", "a parked process has no gate of its own, no keeper and no init")
	}
	gate, err := makePipe(filepath.Join(dir, parkGate))
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	report, err := makePipe(filepath.Join(dir, parkReport))
	if err != nil {
		_ = os.Remove(gate.Name())
		return nil, err
	}
	defer report.Close()
	defer func() {
		if err != nil {
			_ = os.Remove(gate.Name())
			_ = os.Remove(report.Name())
		}
	}()
	own := *l
	// The process holds both ends of the gate: what waits there is not told of an end of file when its starter ends.
	own.Gate, own.parked = gate, report
	return own.Start(ctx)
}

// JoinCgroups lets a process of Park or StartReady join the control groups of CgroupPaths, which are there now. Created is to
// call it, once. Until then the process ends with the program.
func (p *Process) JoinCgroups() error {
	if p.pause == nil {
		return &StartError{Step: "start", Err: ErrNotParked}
	}
	return p.pause.goOn()
}

// makePipe makes a named pipe and opens both of its ends in one descriptor.
func makePipe(name string) (*os.File, error) {
	if err := unix.Mkfifo(name, 0o600); err != nil {
		return nil, &StartError{Step: "mkfifo", Path: name, Err: err}
	}
	fd, err := openat(unix.AT_FDCWD, name, unix.O_RDWR|unix.O_NOFOLLOW)
	if err != nil {
		_ = os.Remove(name)
		return nil, &StartError{Step: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openParked opens the two ends of a parked process's report: it holds only the one for writing, so that its execution, or
// its end, closes the pipe.
func (s *starter) openParked() error {
	open := func(fl int) (int, error) {
		fd, err := openat(unix.AT_FDCWD, s.l.parked.Name(), fl|unix.O_NOFOLLOW)
		if err != nil {
			err = &StartError{Step: "open", Path: s.l.parked.Name(), Err: err}
		}
		return fd, err
	}
	fd, err := open(unix.O_RDONLY | unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	s.report = os.NewFile(uintptr(fd), "report")
	if s.reportFD, err = open(unix.O_WRONLY); err != nil {
		return err
	}
	s.owned = append(s.owned, s.reportFD)
	return s.l.parked.Close()
}

// park waits until the process waits, which it says in one byte, after one that says that its filter comes next.
func (s *starter) park(ctx context.Context, p *Process) error {
	defer endWith(ctx, s.report)()
	var b []byte
	for {
		var part [reportSize]byte
		n, err := s.report.Read(part[:])
		b = append(b, part[:n]...)
		switch {
		case ctx.Err() != nil && err != nil:
			return &StartError{Step: "start", Err: ctx.Err()}
		case errors.Is(err, io.EOF):
			return s.died(p)
		case err != nil:
			return &StartError{Step: "read", Path: "report", Err: err}
		case len(b) == 2 && b[1] == 'w':
			return nil
		case len(b) >= failureSize:
			return s.failure(b)
		}
	}
}

// parkHere is where a process that is parked says that it waits.
func (c *compiler) parkHere() {
	if c.l.parked == nil {
		return
	}
	c.call("write", unix.SYS_WRITE, c.report, c.str("w"), num(1)).about("report")
}

// findCommand looks whether the command is there and may be executed, before anybody waits for that.
func (c *compiler) findCommand() {
	if c.l.parked == nil {
		return
	}
	const effective = 0x200 // AT_EACCESS
	name, search := c.command()
	paths := []string{name}
	if search != nil {
		paths = paths[:0]
		for _, dir := range search {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	result, failure, found := c.variable("result", 8), c.variable("failure", 8), c.label()
	c.op(opSet, num(int(unix.ENOENT))).to(result)
	for _, p := range paths {
		there, folder, failed, denied, next := c.label(), c.label(), c.label(), c.label(), c.label()
		// A kernel, or a filter, that does not allow the question leaves it to the execution.
		c.call("faccessat2", unix.SYS_FACCESSAT2, num(atCWD), c.str(p), num(unix.X_OK), num(effective)).about(p).
			goTo(there).orElse(failed, anyError)
		c.place(failed)
		c.op(opSet, arg{kind: argErrno}).to(failure)
		is := func(errno unix.Errno, label int) {
			other := c.label()
			c.op(opTest, failure, arg{kind: argInt, v: uint64(errno), text: unix.ErrnoName(errno)}, all).goTo(label).
				orElse(other, anyError)
			c.place(other)
		}
		is(unix.ENOENT, next)
		is(unix.ENOTDIR, next)
		is(unix.EACCES, denied)
		c.jump(found)
		c.place(there)
		c.call("faccessat", unix.SYS_FACCESSAT, num(atCWD), c.str(p+"/."), num(unix.F_OK)).about(p).
			goTo(folder).orElse(found, anyError)
		c.place(folder)
		c.place(denied)
		c.op(opSet, num(int(unix.EACCES))).to(result)
		c.place(next)
	}
	c.op(opFail, result).about(name).name = "execve"
	c.place(found)
}

// Unpark lets the process that waits in a folder execute its command, and returns when it does, or has ended. A *[StartError]
// says that it could not. ErrNotParked is returned when no process waits there. ctx bounds the waiting; the process then
// executes nevertheless.
func Unpark(ctx context.Context, dir string) error {
	gate, err := openGate(dir)
	if err != nil {
		return err
	}
	defer unix.Close(gate)
	name := filepath.Join(dir, parkReport)
	fd, err := openat(unix.AT_FDCWD, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW)
	if err != nil {
		return &StartError{Step: "open", Path: name, Err: err}
	}
	if _, err := unix.Write(gate, []byte{1}); err != nil {
		_ = unix.Close(fd)
		return &StartError{Step: "write", Path: parkGate, Err: err}
	}
	b, err := readReport(ctx, fd)
	switch {
	case err != nil && ctx.Err() != nil:
		return &StartError{Step: "start", Err: ctx.Err()}
	case err != nil:
		return &StartError{Step: "read", Path: parkReport, Err: err}
	case len(b) == failureSize: // nothing but the execution is left that could fail
		return &StartError{Step: "execve", Err: syscall.Errno(binary.NativeEndian.Uint64(b[8:]))}
	}
	return nil
}

// readReport reads what the process says that was let go, up to the end of file, and closes the pipe.
func readReport(ctx context.Context, fd int) ([]byte, error) {
	if ctx.Done() == nil { // it can be waited for without the runtime's poller, whose set-up is a good part of a command's time
		_ = unix.SetNonblock(fd, false)
	}
	report := os.NewFile(uintptr(fd), "report")
	defer report.Close()
	defer endWith(ctx, report)()
	return io.ReadAll(io.LimitReader(report, failureSize))
}

// openGate opens the gate at which a process waits.
func openGate(dir string) (int, error) {
	name := filepath.Join(dir, parkGate)
	fd, err := openat(unix.AT_FDCWD, name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT):
		return -1, &StartError{Step: "start", Path: dir, Err: ErrNotParked}
	case err != nil:
		return -1, &StartError{Step: "open", Path: name, Err: err}
	}
	return fd, nil
}

// Parked says whether a process waits in a folder.
func Parked(dir string) bool {
	fd, err := openGate(dir)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// FindProcess finds the process with a number, to signal it or to join its namespaces. Wait works only for a child of the
// program. The number must be known to be that process's still, before and after: a number is used again. The error is
// os.ErrProcessDone if there is none.
func FindProcess(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return newProcess(pid, fd), nil
}
