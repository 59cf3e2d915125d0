package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts the process and returns when the command has been executed, or with a *[StartError]. ctx bounds the
// set-up: when it ends first, what was made is undone and the error wraps ctx's.
func (l *Launch) Start(ctx context.Context) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Step: "start", Err: err}
	}
	if l.ForkServer != nil {
		if p, done, err := l.ForkServer.start(ctx, l); done {
			return p, err
		}
	}
	if l.bornElsewhere() {
		return l.startByTasks(ctx)
	}
	if l.Keep != nil && l.keeper == nil {
		return l.startKept(ctx)
	}
	if l.pauses() && l.pause == nil {
		return l.startPaused(ctx)
	}
	if l.copiesUp() {
		return l.startCopying(ctx)
	}
	p := takeProgram()
	defer p.giveBack()
	p.givenUp = ctx.Err
	if err := l.compile(p); err != nil {
		return nil, err
	}
	if l.edit != nil {
		l.edit(p)
	}
	s := newStarter(l, p)
	defer s.close()
	proc, err := s.begin(s.open)
	if err != nil {
		return nil, err
	}
	switch {
	case l.keeper != nil:
		if proc, err = l.keeper.meet(ctx, proc, s); err != nil {
			return nil, err
		}
		if proc.pidfd == nil { // it has executed its command, and has ended
			if l.Created != nil {
				err = l.Created(proc)
			}
			if err != nil {
				_ = proc.Close()
				return nil, err
			}
			return proc, nil
		}
	case s.p.sync != 0:
		if proc, err = s.userNamespace(ctx, proc); err != nil {
			return nil, err
		}
	}
	err = s.openComm(proc.pid)
	heard := s.listen(ctx, proc)
	if err == nil && l.Created != nil {
		if l.waits() {
			proc.pause = l.pause
		}
		err = l.Created(proc)
		proc.pause = nil
	}
	if err == nil && l.pause != nil {
		err = s.pause(ctx, proc)
	}
	switch {
	case err != nil:
	case l.parked != nil:
		err = s.park(ctx, proc)
	case l.ready != nil:
		err = s.whenReady(ctx, proc)
	default:
		var ready bool
		if ready, err = s.result(ctx); err == nil && !s.executed(proc, ready) {
			err = s.died(proc)
		}
	}
	if err != nil {
		_ = proc.Signal(syscall.SIGKILL)
	}
	if e := heard(); e != nil {
		err = e
	}
	if err == nil && l.TTY && l.keeper == nil {
		proc.tty, err = s.receiveTerminal()
	}
	if err != nil {
		proc.discard()
		return nil, err
	}
	return proc, nil
}

// discarding bounds the wait for the end of a process that is killed because its start has failed.
const discarding = time.Second

// discard kills the process and waits for its end. A process that v1's freezer holds, at whoever's order, ends only when
// it is thawed: that is waited for in the background.
func (p *Process) discard() {
	_ = p.Signal(syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), discarding)
	defer cancel()
	if _, err := p.Wait(ctx); errors.Is(err, context.DeadlineExceeded) {
		go func() {
			_, _ = p.Wait(context.Background())
			_ = p.Close()
		}()
		return
	}
	_ = p.Close()
}

// A starter holds what the host program opens for one start.
type starter struct {
	l *Launch
	p *Program

	name     string    // of the process while it sets itself up
	ready    string    // its name when it has done so, or "" if it says it in the report
	comm     int       // the file that shows its name, or -1
	fds      []uintptr // for the child, by number; the last one is the stub
	owned    []int
	stub     int      // or -1; kept until the end, lest its memory be freed in the middle of the command's execution
	report   *os.File // our end
	tty      int      // our end
	reportFD int
	ttyFD    int
	syncFD   int
	sync     *os.File // our end
	idmapped []int    // descriptors of mounts that are idmapped by the process's own user namespace
}

func newStarter(l *Launch, p *Program) *starter {
	return &starter{l: l, p: p, comm: -1, stub: -1, reportFD: -1, ttyFD: -1, syncFD: -1}
}

// open opens the report, the program's files and the stub.
func (s *starter) open() error {
	if err := s.openReport(); err != nil {
		return err
	}
	if err := s.openFiles(); err != nil {
		return err
	}
	return s.openStub()
}

func (s *starter) openReport() error {
	if s.l.parked != nil {
		return s.openParked()
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return &StartError{Step: "pipe2", Path: "report", Err: err}
	}
	s.reportFD = pipe[1]
	s.owned = append(s.owned, pipe[1])
	_ = unix.SetNonblock(pipe[0], true)
	s.report = os.NewFile(uintptr(pipe[0]), "report")
	return nil
}

func (s *starter) openFiles() error {
	if s.l.TTY {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return &StartError{Step: "socketpair", Path: "terminal", Err: err}
		}
		s.tty, s.ttyFD = pair[0], pair[1]
		s.owned = append(s.owned, pair[1])
		if s.l.keeper != nil {
			s.l.keeper.out = s.tty
		}
	}
	if s.p.sync != 0 {
		if err := s.openSync(); err != nil {
			return err
		}
	}
	for i, f := range s.p.files {
		fd, owned, err := 0, false, error(nil)
		switch {
		case i == s.p.inline && !s.p.moved:
			fd = s.reportFD
		case s.p.sync != 0 && i == s.p.sync:
			fd = s.syncFD
		case f.open == nil:
			fd = s.ttyFD
		default:
			fd, owned, err = f.open()
		}
		if err != nil {
			var start *StartError
			if errors.As(err, &start) {
				return start
			}
			return &StartError{Step: "open", Path: f.text, Err: s.l.mountError(f.mount, "open", err)}
		}
		if owned {
			s.owned = append(s.owned, fd)
		}
		s.fds = append(s.fds, uintptr(fd))
	}
	if d := s.l.copies; d != nil {
		d.end() // before the process may be one too many for its control group
	}
	return s.idmapFiles()
}

func (s *starter) openStub() error {
	var err error
	if s.name, s.ready, err = s.p.nameSetUp(); err != nil {
		return &StartError{Step: "getrandom", Err: err}
	}
	stub, err := writeStub(s.p, s.l.StubDir)
	if err != nil {
		return &StartError{Step: "write", Path: "stub", Err: err}
	}
	s.stub = stub
	s.fds = append(s.fds, uintptr(stub))
	return nil
}

func (s *starter) closeChildSide() {
	for _, fd := range s.owned {
		_ = unix.Close(fd)
	}
	s.owned = nil
}

func (s *starter) close() {
	s.closeChildSide()
	if s.report != nil {
		_ = s.report.Close()
	}
	if s.sync != nil {
		_ = s.sync.Close()
	}
	for _, fd := range s.idmapped {
		_ = unix.Close(fd)
	}
	if s.tty > 0 {
		_ = unix.Close(s.tty)
	}
	for _, fd := range []int{s.comm, s.stub} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// begin opens by open what the process is given, starts it, and closes what is the process's alone.
func (s *starter) begin(open func() error) (*Process, error) {
	if err := open(); err != nil {
		return nil, err
	}
	pid, pidfd, err := s.spawn()
	if err != nil {
		return nil, err
	}
	s.closeChildSide()
	return newProcess(pid, pidfd), nil
}

// spawn starts the stub. Go's own StartProcess does it, with vfork whatever the program's size; the descriptor of the
// executable is one of the child's files, since the child closes or overwrites those that are not.
func (s *starter) spawn() (pid, pidfd int, err error) {
	pidfd = -1
	attr := &syscall.ProcAttr{Files: s.fds, Sys: &syscall.SysProcAttr{PidFD: &pidfd}}
	if s.l.keeper != nil { // the namespaces and the control group are of its process
		return s.clone(attr, &pidfd)
	}
	n, mode := &s.l.Namespaces, s.l.userMode()
	for _, x := range []struct {
		ns   Namespace
		flag uintptr
	}{
		{n.PID, unix.CLONE_NEWPID}, {n.UTS, unix.CLONE_NEWUTS}, {n.IPC, unix.CLONE_NEWIPC}, {n.Network, unix.CLONE_NEWNET},
	} {
		if x.ns.isNew() && !mode.own && !(x.flag == unix.CLONE_NEWNET && s.l.Prepared.hasNetwork()) {
			attr.Sys.Cloneflags |= x.flag
		}
	}
	if s.l.CgroupDir != nil {
		attr.Sys.UseCgroupFD = true
		attr.Sys.CgroupFD, err = duplicate(s.l.CgroupDir)
		if err != nil {
			return 0, -1, &StartError{Step: "clone", Path: s.l.CgroupDir.Name(), Err: err}
		}
		defer unix.Close(attr.Sys.CgroupFD)
	}
	join := n.PID.Join
	if join == nil || s.l.keeper != nil || mode.own && mode.rootless {
		return s.clone(attr, &pidfd)
	}
	start := func() { pid, _, err = s.clone(attr, &pidfd) }
	if e := inPIDNamespace(join, start); e != nil {
		return 0, -1, e
	}
	return pid, pidfd, err
}

func (s *starter) clone(attr *syscall.ProcAttr, pidfd *int) (int, int, error) {
	path := fmt.Sprintf("/proc/self/fd/%d", len(s.fds)-1)
	pid, _, err := syscall.StartProcess(path, []string{"init"}, attr)
	if err != nil {
		return 0, -1, &StartError{Step: "clone", Path: "", Err: err}
	}
	return pid, *pidfd, nil
}

// inPIDNamespace calls f on a thread whose children are born in another PID namespace.
func inPIDNamespace(join *os.File, f func()) error {
	own, err := unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &StartError{Step: "open", Path: "/proc/self/ns/pid", Err: err}
	}
	defer unix.Close(own)
	fd, err := duplicate(join)
	if err != nil {
		return &StartError{Step: "setns", Path: "pid namespace", Err: err}
	}
	defer unix.Close(fd)
	runtime.LockOSThread()
	if err := unix.Setns(fd, unix.CLONE_NEWPID); err != nil {
		runtime.UnlockOSThread()
		return &StartError{Step: "setns", Path: "pid namespace", Err: err}
	}
	f()
	if err := unix.Setns(own, unix.CLONE_NEWPID); err == nil {
		runtime.UnlockOSThread() // else the thread ends with its goroutine
	}
	return nil
}

// result waits for the end of the report. It begins with a byte that says that the set-up is done, which nothing but the
// execution follows; a failed step is reported as its address and the error. The end of the report without a failure says
// that the command is executed, or that the process died: in the set-up, if it was not ready, or in its last step.
func (s *starter) result(ctx context.Context) (ready bool, err error) {
	defer endWith(ctx, s.report)()
	b, err := io.ReadAll(io.LimitReader(s.report, reportSize))
	switch {
	case ctx.Err() != nil && err != nil:
		return false, &StartError{Step: "start", Err: ctx.Err()}
	case err != nil:
		return false, &StartError{Step: "read", Path: "report", Err: err}
	case len(b) < failureSize:
		return len(b) > 0, nil
	}
	return false, s.failure(b)
}

// failureSize is the length of a report of failure: the step's address and the error.
const failureSize = 16

// failedSetUp is the exit status of a process that a step has failed.
const failedSetUp = 127

// reportSize is more than a whole report can have: some bytes of news, and a failure of each of the stubs on the way.
const reportSize = 4 * failureSize

// failure is the error that a report says.
func (s *starter) failure(b []byte) error {
	b = b[len(b)%failureSize:] // ready, held, paused, waiting; several stubs may say how they failed
	if len(b) < failureSize {
		return &StartError{Step: "read", Path: "report", Err: unix.EBADMSG}
	}
	st := s.p.failed(binary.NativeEndian.Uint64(b))
	return &StartError{Step: st.name, Path: st.path, Err: s.l.mountError(st.mount, st.name, syscall.Errno(binary.NativeEndian.Uint64(b[8:])))}
}

// died is the error of a process that ended in the middle of its set-up without a report.
func (s *starter) died(p *Process) error {
	state, err := p.Wait(context.Background())
	switch {
	case err != nil:
		return &StartError{Step: "set up", Err: err}
	case state.Signal != 0:
		err = fmt.Errorf("the process was killed by signal %d (%s): by another process, for want of memory, or by its own "+
			"seccomp filter", state.Signal, syscall.Signal(state.Signal))
	default:
		err = fmt.Errorf("the process ended with status %d and could not say why: its seccomp filter forbids write(2)", state.Code)
	}
	return &StartError{Step: "set up", Err: err}
}

// receiveTerminal takes the terminal's other end from the process. A container that is joined may have put anything in
// its /dev: only a pseudo-terminal's master is accepted.
func (s *starter) receiveTerminal() (*os.File, error) {
	fail := func(step string, err error) (*os.File, error) {
		return nil, &StartError{Step: step, Path: "terminal", Err: err}
	}
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(s.tty, b[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return fail("recvmsg", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return fail("recvmsg", unix.EBADMSG)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return fail("recvmsg", unix.EBADMSG)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fds[0], &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(5, 2) {
		_ = unix.Close(fds[0])
		return fail("check", unix.ENOTTY)
	}
	_ = unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// withDescriptor calls f with the number of an open file, which stays open and keeps its blocking mode as long.
func withDescriptor(f *os.File, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return os.ErrClosed
	}
	if e := c.Control(func(fd uintptr) { err = call(int(fd)) }); e != nil {
		return os.ErrClosed
	}
	return err
}

// duplicate is a second descriptor of an open file, which its owner may close meanwhile.
func duplicate(f *os.File) (fd int, err error) {
	err = withDescriptor(f, func(n int) (err error) {
		fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// endWith has the reads of f end when ctx does, until the function is called that it returns: then f can be read again.
func endWith(ctx context.Context, f *os.File) (stop func()) {
	ended := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		_ = f.SetReadDeadline(time.Unix(1, 0))
		close(ended)
	})
	return func() {
		if !cancel() {
			<-ended
			_ = f.SetReadDeadline(time.Time{})
		}
	}
}
