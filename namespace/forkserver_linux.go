package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A ForkServer is a process that has joined the namespaces and control group of a container and waits there for commands, of
// which it clones a process each, as this program's child: what takes most of the time of a command's start is done once. It has
// what its commands have and nothing else: their credentials, capabilities, seccomp filter and limits, and a socket to this
// program. It is a stub of some pages, not dumpable, so that no other process can trace it without CAP_SYS_PTRACE on the host. It ends
// when this program does, when its PID namespace does, or when it is closed.
type ForkServer struct {
	shape Launch
	proc  *Process
	sock  *os.File
	null  *os.File // of the commands that are given none of their own

	patience atomic.Int64 // nanoseconds, with somebody who stops it, or holds up a command's set-up: answering, but for tests

	turn   chan struct{} // held while a process is made: one may be there that is in the server's group, and that nobody knows yet
	ending bool          // guarded by turn
	ended  chan struct{} // closed when the process is gone, with all that it has left
}

// StartForkServer starts a process for commands that are like l: what may differ is said at [Launch.ForkServer]. l joins the
// namespaces it does not share with the host, the PID namespace at least. It satisfies errors.ErrUnsupported if l has what
// cannot be had once for all commands: a SeccompNotify, a Scheduler, a security label, a Gate, a Keep.
func (l *Launch) StartForkServer(ctx context.Context) (*ForkServer, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Step: "start", Err: err}
	}
	if what := l.notForked(); what != "" {
		return nil, bad(what, "a fork server does without: %w", errors.ErrUnsupported)
	}
	own := l.forkShape()
	own.Args, own.CgroupDir, own.CgroupTasks = []string{"forkserver"}, l.CgroupDir, l.CgroupTasks
	p := takeProgram()
	defer p.giveBack()
	p.givenUp = ctx.Err
	if err := own.compileForkServer(p); err != nil {
		return nil, err
	}
	if l.edit != nil {
		l.edit(p)
	}
	s := newStarter(&own, p)
	defer s.close()
	proc, err := s.begin(func() error { return s.openHeld(unix.SOCK_SEQPACKET) })
	if err != nil {
		return nil, err
	}
	if s.p.sync != 0 {
		if proc, err = s.userNamespace(ctx, proc); err != nil {
			return nil, err
		}
	}
	if err := s.held(ctx, proc); err != nil {
		proc.discard()
		return nil, err
	}
	sock, err := duplicate(s.report)
	if err != nil {
		proc.discard()
		return nil, &StartError{Step: "fcntl", Path: "report", Err: err}
	}
	_ = unix.SetNonblock(sock, false) // else the runtime's poller would be woken by each message
	null, err := openNull()
	if err != nil {
		_ = unix.Close(sock)
		proc.discard()
		return nil, &StartError{Step: "open", Path: os.DevNull, Err: err}
	}
	f := &ForkServer{shape: l.forkShape(), proc: proc, sock: os.NewFile(uintptr(sock), "report"), null: os.NewFile(uintptr(null), os.DevNull),
		turn: make(chan struct{}, 1), ended: make(chan struct{})}
	f.patience.Store(int64(answering))
	go f.watch()
	return f, nil
}

// notForked names what a process of l cannot have of a fork server, if anything.
func (l *Launch) notForked() string {
	n := &l.Namespaces
	switch {
	case l.SeccompNotify != nil:
		return "SeccompNotify"
	case l.Scheduler != nil:
		return "Scheduler"
	case l.AppArmor != "":
		return "AppArmor"
	case l.SELinux != "":
		return "SELinux"
	case l.Gate != nil:
		return "Gate"
	case l.Keep != nil:
		return "Keep"
	case l.Init:
		return "Init"
	case l.Created != nil:
		return "Created"
	case l.Root != nil:
		return "Root"
	case n.PID.Join == nil:
		return "Namespaces.PID"
	case n.Mount.Join == nil:
		return "Namespaces.Mount"
	case l.newUser():
		return "UIDMappings"
	case len(l.Own) > 0:
		return "Own"
	case l.NetworkTo != nil:
		return "NetworkTo"
	case len(l.CgroupPaths) > 0:
		return "CgroupPaths"
	case l.TimeOffsets != nil:
		return "TimeOffsets"
	}
	return ""
}

// forkShape is l without what a command has of its own.
func (l *Launch) forkShape() Launch {
	s := *l
	s.Args, s.Path, s.Env, s.Dir, s.Umask, s.TTY, s.TTYSize = nil, "", nil, "", nil, false, WinSize{}
	s.Stdin, s.Stdout, s.Stderr, s.ExtraFiles, s.ForkServer, s.edit = nil, nil, nil, nil, nil, nil
	s.CgroupDir, s.CgroupTasks = nil, nil // which the group may open anew
	return s
}

// watch waits for the server's end, and clears away what is left of it.
func (f *ForkServer) watch() {
	f.proc.untilEnd()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	f.ending = true
	endGroup(f.proc)
	_ = f.sock.Close()
	_ = f.null.Close()
	close(f.ended)
}

// Alive says whether the server can still be asked for processes.
func (f *ForkServer) Alive() bool {
	select {
	case <-f.ended:
		return false
	default:
		return !f.proc.ended(0)
	}
}

// Close ends the server. Its commands go on. A second Close does nothing.
func (f *ForkServer) Close() error {
	_ = f.proc.Signal(unix.SIGKILL)
	<-f.ended
	return nil
}

// start has the server clone a process that executes a command. It is not done, and nothing is left of it, when that did not
// work out: then the process may be started without the server, and that error is the one that counts.
func (f *ForkServer) start(ctx context.Context, l *Launch) (_ *Process, done bool, err error) {
	if l.notForked() != "" || !reflect.DeepEqual(l.forkShape(), f.shape) {
		return nil, false, nil
	}
	p := takeProgram()
	defer p.giveBack()
	s := newStarter(l, p)
	defer s.close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false, nil
	}
	s.report, s.reportFD, s.owned = os.NewFile(uintptr(pair[0]), "report"), pair[1], append(s.owned, pair[1])
	if unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1) != nil {
		return nil, false, nil
	}
	if l.compileForked(p, func() (int, error) { return duplicate(f.null) }, func() (int, bool, error) { return s.reportFD, false, nil }) != nil {
		return nil, false, nil
	}
	if l.edit != nil {
		l.edit(p)
	}
	if s.openFiles() != nil || len(s.fds) > maxForkedFiles {
		return nil, false, nil
	}
	if s.name, s.ready, err = p.nameSetUp(); err != nil {
		return nil, false, nil
	}
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, true, &StartError{Step: "start", Err: ctx.Err()}
	case <-time.After(time.Duration(f.patience.Load())):
		return nil, false, nil
	}
	proc, err := f.fork(ctx, s)
	if proc == nil {
		return nil, err != nil && ctx.Err() != nil, err
	}
	report, err := s.outcome(ctx, proc)
	var ran bool
	if err == nil && len(report) < failureSize {
		ran, err = s.forkedExecuted(proc, len(report) > 0)
	}
	switch {
	case err != nil: // it may be executing the command
		done = true
	case len(report) >= failureSize:
		err = s.failure(report)
	case !ran:
		err = s.died(proc)
	}
	if err != nil {
		proc.discard()
		return nil, done || ctx.Err() != nil, err
	}
	if l.TTY {
		if proc.tty, err = s.receiveTerminal(); err != nil {
			proc.discard()
			return nil, true, err
		}
	}
	return proc, true, nil
}

// answering bounds the wait for a server that somebody in the container has stopped, and for one that waits for a process that
// somebody has stopped in its set-up.
const answering = 10 * time.Second

// glance is how long a wait is at most that does not see ctx end, in milliseconds.
const glance = 20

// await waits for one of the descriptors, until ctx ends, or for the time at most that is given, if any is. A thread does so: with
// the runtime's poller each message would wake a thread of that's, too, and what is waited for is there within a millisecond as a rule.
func await(ctx context.Context, most time.Duration, fds ...unix.PollFd) error {
	for begin := time.Now(); ; {
		n, err := unix.Poll(fds, glance)
		switch {
		case n > 0:
			return nil
		case err != nil && err != unix.EINTR:
			return os.NewSyscallError("poll", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case most > 0 && time.Since(begin) > most:
			return os.ErrDeadlineExceeded
		}
	}
}

// forkedExecuted says whether a process whose report has ended without a failure, ready or not, executes its command or has done so.
// One that has exited has, but with the status of a failed set-up: what that is, and how one is that goes on or was killed, its name
// shows.
func (s *starter) forkedExecuted(p *Process, ready bool) (ran bool, err error) {
	_ = withDescriptor(p.pidfd, func(fd int) error {
		state, err := reap(fd, unix.WNOWAIT)
		ran = err != nil || state != nil && state.Signal == 0 && state.Code != failedSetUp // with an error, another part of the program has reaped it
		return nil
	})
	if ran {
		return true, nil
	}
	if err := s.openComm(p.pid); err != nil {
		return false, err
	}
	return s.executed(p, ready), nil
}

// outcome is the report, up to a failure, or to its end, or to that of the process: the server, which has it open too, may get to the
// closing later.
func (s *starter) outcome(ctx context.Context, p *Process) ([]byte, error) {
	b := make([]byte, 0, reportSize)
	err := withDescriptor(s.report, func(report int) error {
		return withDescriptor(p.pidfd, func(pidfd int) error {
			for waited := false; len(b) < failureSize; {
				n, _, err := unix.Recvfrom(report, b[len(b):cap(b)], unix.MSG_DONTWAIT)
				switch {
				case err == unix.EAGAIN && !waited:
					waited = true
					err = await(ctx, 0, unix.PollFd{Fd: int32(report), Events: unix.POLLIN}, unix.PollFd{Fd: int32(pidfd), Events: unix.POLLIN})
					if err != nil {
						return err
					}
				case n == 0 || err == unix.EAGAIN:
					return nil
				case err != nil:
					return os.NewSyscallError("recvfrom", err)
				default:
					b, waited = b[:len(b)+n], false
				}
			}
			return nil
		})
	})
	switch {
	case ctx.Err() != nil && err != nil:
		err = &StartError{Step: "start", Err: ctx.Err()}
	case err != nil:
		err = &StartError{Step: "read", Path: "report", Err: err}
	}
	return b, err
}

// fork asks the server for a process. Without one nothing of it is left, or will be.
func (f *ForkServer) fork(ctx context.Context, s *starter) (*Process, error) {
	if f.ending {
		return nil, nil
	}
	p := s.p
	p.image = p.image[:0]
	size := int(p.writeSegment())
	if size > maxForked {
		return nil, nil
	}
	p.image = append(p.image, make([]byte, size-len(p.image))...) // there is an older program at its place
	rights := make([]int, len(s.fds))
	for i, fd := range s.fds {
		rights[i] = int(fd)
	}
	oob := unix.UnixRights(rights...)
	err := withDescriptor(f.sock, func(fd int) error { return unix.Sendmsg(fd, p.image, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT) })
	if err != nil {
		return nil, nil // it has ended
	}
	s.closeChildSide()
	proc, err := f.answer(ctx, s)
	if proc == nil { // it may have made one nevertheless
		f.ending = true
		_ = f.proc.Signal(unix.SIGKILL)
	}
	return proc, err
}

// answer waits for the process's first word.
func (f *ForkServer) answer(ctx context.Context, s *starter) (*Process, error) {
	var pid int
	err := withDescriptor(s.report, func(fd int) (err error) {
		// The end of the report, which comes with the execution of the command, is all that this thread is woken for as a rule.
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, glance)
		if n <= 0 && await(ctx, time.Duration(f.patience.Load()), unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}) != nil {
			_ = unix.Shutdown(fd, unix.SHUT_RD) // from here on its word would be the end of it
		}
		pid, err = receivePid(fd)
		return err
	})
	if err != nil {
		if e := ctx.Err(); e != nil {
			return nil, &StartError{Step: "start", Err: e}
		}
		return nil, nil
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // want of descriptors, most likely
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, err
	}
	state, err := reap(pidfd, unix.WNOWAIT)
	if err != nil { // another part of the program has reaped it
		_ = unix.Close(pidfd)
		return nil, err
	}
	if state != nil { // there is nothing to poll
		return processOf(pid, pidfd), nil
	}
	return newProcess(pid, pidfd), nil
}

// sizeofCredentials is CMSG_SPACE(sizeof(struct ucred)).
const sizeofCredentials = (unix.SizeofCmsghdr + unix.SizeofUcred + 7) &^ 7

// receivePid receives a process's first word, and who wrote it. If that is a failure, the process has ended.
func receivePid(fd int) (int, error) {
	var b [1]byte
	var oob [sizeofCredentials]byte // room for no descriptors
	n, m, _, _, err := unix.Recvmsg(fd, b[:], oob[:], unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return 0, err
	}
	if n == 0 || b[0] != 's' {
		return 0, unix.ESRCH
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("the process does not say who it is: %w", unix.EBADMSG)
	}
	who, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil || who.Pid <= 0 {
		return 0, fmt.Errorf("the process does not say who it is: %w", unix.EBADMSG)
	}
	return int(who.Pid), nil
}
