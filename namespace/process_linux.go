package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Process is a started process. Its methods may be called by several goroutines.
type Process struct {
	pid   int
	pidfd *os.File
	tty   *os.File
	kept  *kept
	pause *pause        // while it is started by Park or StartReady
	turn  chan struct{} // held by the one that waits
	state *State
	err   error

	reaping sync.Mutex // until it is held, and reaped is false, the number is this process's
	reaped  bool
}

func newProcess(pid, pidfd int) *Process {
	_ = unix.SetNonblock(pidfd, true) // so that the runtime polls it
	return processOf(pid, pidfd)
}

func processOf(pid, pidfd int) *Process {
	return &Process{pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), turn: make(chan struct{}, 1)}
}

// Pid is the process's number in the PID namespace of the host program. After Wait it may belong to another process.
func (p *Process) Pid() int { return p.pid }

// PidFD is the process's pidfd, by which its namespaces can be joined. It belongs to the Process.
func (p *Process) PidFD() *os.File { return p.pidfd }

// TTY is the other end of the process's terminal, or nil. It belongs to the caller, who closes it.
func (p *Process) TTY() *os.File { return p.tty }

// Close releases the pidfd. It does not end the process.
func (p *Process) Close() error {
	if p.kept != nil {
		p.kept.close()
	}
	if p.pidfd == nil { // it had ended when it was adopted
		return nil
	}
	return p.pidfd.Close()
}

// Signal sends a signal to the process. A process that has ended makes it os.ErrProcessDone.
func (p *Process) Signal(sig syscall.Signal) error {
	err := withDescriptor(p.pidfd, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("signal %d to process %d: %w", sig, p.pid, err)
	}
	return nil
}

// KillGroup sends SIGKILL to the process, and to those that it has started and that are in its process group still. One that has ended, and
// was waited for, makes it os.ErrProcessDone: its group is left alone then, since the number may be another one's. A process that was
// adopted is refused with errors.ErrUnsupported.
func (p *Process) KillGroup() error {
	if p.kept != nil {
		return fmt.Errorf("kill group of process %d: it is its keeper's child: %w", p.pid, errors.ErrUnsupported)
	}
	p.reaping.Lock()
	defer p.reaping.Unlock()
	if p.reaped {
		return os.ErrProcessDone
	}
	if err := p.Signal(0); err != nil { // another part of the program may have reaped it
		return err
	}
	if err := unix.Kill(-p.pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill group of process %d: %w", p.pid, err)
	}
	return nil
}

// reap takes the status, if it has ended.
func (p *Process) reap(fd int) (*State, error) {
	p.reaping.Lock()
	defer p.reaping.Unlock()
	s, err := reap(fd, 0)
	p.reaped = s != nil || err != nil
	return s, err
}

// Wait waits until the process ends, or until ctx does. It may be called again, and returns the same State.
func (p *Process) Wait(ctx context.Context) (*State, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.state != nil || p.err != nil {
		return p.state, p.err
	}
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	_ = p.pidfd.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var state *State
	var waitErr error
	err = conn.Read(func(fd uintptr) bool {
		if p.kept != nil {
			if !ended(int(fd)) {
				return false
			}
			state, waitErr = p.kept.state(ctx)
			return true
		}
		state, waitErr = p.reap(int(fd))
		return state != nil || waitErr != nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	if p.kept != nil && waitErr != nil && ctx.Err() != nil { // its keeper has not written down yet how it ended
		return nil, ctx.Err()
	}
	if waitErr != nil {
		waitErr = fmt.Errorf("wait for process %d: %w", p.pid, waitErr)
	}
	p.state, p.err = state, waitErr
	return p.state, p.err
}

// reap takes the status of a process that has ended; a nil State says that it has not. With WNOWAIT the process stays.
func reap(fd, options int) (*State, error) {
	var info unix.Siginfo
	var usage unix.Rusage
	for {
		err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|options, &usage)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return nil, nil
		case unix.ECHILD:
			return reapedByOther(fd)
		case nil:
		default:
			return nil, os.NewSyscallError("waitid", err)
		}
		break
	}
	return stateOf(&info, &usage), nil
}

// stateOf translates what waitid(2) says; it is nil if no process has ended.
func stateOf(info *unix.Siginfo, usage *unix.Rusage) *State {
	child := (*childInfo)(unsafe.Pointer(info))
	if child.pid == 0 {
		return nil
	}
	s := &State{
		UserTime:   time.Duration(usage.Utime.Nano()),
		SystemTime: time.Duration(usage.Stime.Nano()),
		MaxRSS:     usage.Maxrss << 10,
	}
	if info.Code == cldExited {
		s.Code = int(child.status)
	} else {
		s.Code, s.Signal, s.CoreDumped = -1, int(child.status), info.Code == cldDumped
	}
	return s
}

// A childInfo is the siginfo_t of a child: si_pid, si_uid and si_status follow the first four words.
type childInfo struct {
	_                [4]int32
	pid, uid, status int32
}

const cldExited, cldKilled, cldDumped = 1, 2, 3

// info is what stateOf makes the state of, for a process of that number.
func (s *State) info(pid int) (info unix.Siginfo, usage unix.Rusage) {
	child := (*childInfo)(unsafe.Pointer(&info))
	child.pid = int32(pid)
	switch {
	case s.Signal == 0:
		info.Code, child.status = cldExited, int32(s.Code)
	case s.CoreDumped:
		info.Code, child.status = cldDumped, int32(s.Signal)
	default:
		info.Code, child.status = cldKilled, int32(s.Signal)
	}
	usage.Utime, usage.Stime = unix.NsecToTimeval(int64(s.UserTime)), unix.NsecToTimeval(int64(s.SystemTime))
	usage.Maxrss = s.MaxRSS >> 10
	return info, usage
}

// reapedByOther asks the kernel for the status of a process that another part of the program, with wait4(-1), has reaped.
func reapedByOther(fd int) (*State, error) {
	var info struct {
		mask, cgroup uint64
		ids          [11]uint32
		code         int32
	}
	const (
		ioctl    = 0xc040ff0b // PIDFD_GET_INFO with the first version's struct
		exitInfo = 1 << 3     // PIDFD_INFO_EXIT
	)
	info.mask = exitInfo
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctl, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.mask&exitInfo == 0 {
		return nil, fmt.Errorf("another part of the program reaped it, and its status cannot be had (PIDFD_GET_INFO, "+
			"Linux ≥ 6.15): %w", unix.ECHILD)
	}
	w := unix.WaitStatus(info.code)
	s := &State{Code: -1}
	if w.Exited() {
		s.Code = w.ExitStatus()
	} else {
		s.Signal, s.CoreDumped = int(w.Signal()), w.CoreDump()
	}
	return s, nil
}
