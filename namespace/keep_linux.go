package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A keeper is what the host program opens for one, as descriptors.
type keeper struct {
	dir, lock, log, exit, control, out, err, input int

	locks      []*os.File
	hasInput   bool
	tty        bool
	edit       func(*Program) // for tests
	logSize    int64
	noLog      bool
	cloneFlags uint64   // of the process
	groupDir   *os.File // the keeper's control groups
	groupTasks []*os.File
	atEnd      int // a folder if there is nothing to read
	atEndFile  *os.File
	path       string
	goesOn     bool // with the log of a process before
	held       []int
	uids       []IDMapping // of the process's own user namespace, if it is new
}

// startKept starts a process whose parent is a keeper.
func (l *Launch) startKept(ctx context.Context) (p *Process, err error) {
	if err := l.validate(); err != nil {
		return nil, err
	}
	k := &keeper{logSize: l.Keep.logSize(), noLog: l.Keep.NoLog, path: l.Keep.Dir, locks: l.Keep.Hold, hasInput: l.Keep.Stdin || l.TTY, tty: l.TTY, edit: l.keeperEdit,
		groupDir: l.Keep.CgroupDir, groupTasks: l.Keep.CgroupTasks, atEndFile: l.Keep.AtEnd}
	for _, x := range []struct {
		ns   Namespace
		flag uint64
	}{
		{l.Namespaces.PID, unix.CLONE_NEWPID}, {l.Namespaces.UTS, unix.CLONE_NEWUTS}, {l.Namespaces.IPC, unix.CLONE_NEWIPC},
		{l.Namespaces.Network, unix.CLONE_NEWNET},
	} {
		if x.ns.isNew() {
			k.cloneFlags |= x.flag
		}
	}
	made, err := k.makeFiles()
	defer func() {
		for _, fd := range k.held {
			_ = unix.Close(fd)
		}
		if err != nil && made {
			k.removeFiles()
		}
	}()
	if err != nil {
		return nil, err
	}
	kept := *l
	kept.keeper = k
	done, err := kept.keepInUser()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := k.makePipes(&kept); err != nil {
		return nil, err
	}
	defer closeFiles(kept.Stdin, kept.Stdout, kept.Stderr)
	return kept.Start(ctx)
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (k *Keep) logSize() int64 {
	if k.LogSize == 0 {
		return defaultLogSize
	}
	return 1 << bits.Len64(uint64(k.LogSize-1))
}

// hold keeps a descriptor open until the keeper has it.
func (k *keeper) hold(fd int) int {
	k.held = append(k.held, fd)
	return fd
}

// makeFiles makes the files of the folder; made says that there was none before.
func (k *keeper) makeFiles() (made bool, err error) {
	fail := func(step, name string, err error) error {
		return &StartError{Step: step, Path: filepath.Join(k.path, name), Err: err}
	}
	dir, err := unix.Open(k.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fail("open", "", err)
	}
	k.dir = k.hold(dir)
	create := func(name string, fl int) (int, error) {
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|fl, 0o600)
		if err != nil {
			return -1, fail("open", name, err)
		}
		return k.hold(fd), nil
	}
	if k.lock, err = create(keepLock, unix.O_EXCL|unix.O_RDWR); err != nil {
		return false, err
	}
	if err := unix.Flock(k.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return true, fail("flock", keepLock, err)
	}
	k.goesOn = unix.Faccessat(dir, keepLog, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil // see ContinueLog
	if k.noLog {
		if k.log, err = unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			k.hold(k.log)
		} else {
			err = fail("open", os.DevNull, err)
		}
	} else {
		k.log, err = create(keepLog, unix.O_WRONLY|unix.O_APPEND)
	}
	if err != nil {
		return true, err
	}
	if k.exit, err = create(keepExitNew, unix.O_EXCL|unix.O_RDWR); err != nil {
		return true, err
	}
	if _, err := unix.Pwrite(k.exit, k.says(), 0); err != nil {
		return true, fail("write", keepExitNew, err)
	}
	if k.control, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return true, fail("socket", keepControl, err)
	}
	k.hold(k.control)
	if err := unix.Bind(k.control, controlAddr(dir)); err != nil {
		return true, fail("bind", keepControl, err)
	}
	return true, nil
}

// says is what the keeper is told, in the place of the record that it will write.
func (k *keeper) says() []byte {
	b := make([]byte, exitSize)
	if !k.noLog {
		binary.NativeEndian.PutUint64(b[saysMask:], ^(uint64(k.logSize) - 1))
	}
	for off, yes := range map[int]bool{saysInput: k.hasInput, saysTTY: k.tty} {
		if yes {
			binary.NativeEndian.PutUint64(b[off:], 1)
		}
	}
	return b
}

// controlAddr is the control socket's address below an open folder, whose path may be longer than an address.
func controlAddr(dir int) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir, keepControl)}
}

func (k *keeper) removeFiles() {
	for _, name := range keepFiles {
		if name != keepLog || !k.goesOn {
			_ = os.Remove(filepath.Join(k.path, name))
		}
	}
}

// makePipes makes the process's standard files.
func (k *keeper) makePipes(l *Launch) error {
	k.out, k.err, k.input, k.atEnd = k.dir, k.dir, k.dir, k.dir
	if f := k.atEndFile; f != nil {
		fd, err := duplicate(f)
		if err != nil {
			return &StartError{Step: "duplicate", Path: f.Name(), Err: err}
		}
		k.atEnd = k.hold(fd)
	}
	if l.TTY {
		return nil
	}
	pipe := func(name string) (r, w int, err error) {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return 0, 0, &StartError{Step: "pipe2", Path: name, Err: err}
		}
		// The process may open its /dev/stdout anew.
		if uid, give := l.pipeOwner(); give {
			for _, fd := range p {
				if err := unix.Fchown(fd, int(uid), -1); err != nil {
					_, _ = unix.Close(p[0]), unix.Close(p[1])
					return 0, 0, &StartError{Step: "fchown", Path: name, Err: err}
				}
			}
		}
		return p[0], p[1], nil
	}
	r, w, err := pipe("stdout")
	if err != nil {
		return err
	}
	k.out, l.Stdout = k.hold(r), os.NewFile(uintptr(w), "stdout")
	_ = unix.SetNonblock(r, true) // the process can open its pipes anew, and take out what the keeper was told of
	if r, w, err = pipe("stderr"); err != nil {
		return err
	}
	k.err, l.Stderr = k.hold(r), os.NewFile(uintptr(w), "stderr")
	_ = unix.SetNonblock(r, true)
	if k.hasInput {
		if r, w, err = pipe("stdin"); err != nil {
			return err
		}
		k.input, l.Stdin = k.hold(w), os.NewFile(uintptr(r), "stdin")
	}
	l.ownPipes()
	return nil
}

// meet waits for the first process to end, and gets the keeper's process.
func (k *keeper) meet(ctx context.Context, first *Process, s *starter) (*Process, error) {
	defer first.Close()
	for _, fd := range k.held {
		if fd != k.dir {
			_ = unix.Close(fd)
		}
	}
	k.held = []int{k.dir}
	if _, err := first.Wait(context.WithoutCancel(ctx)); err != nil && !errors.Is(err, unix.ECHILD) {
		return nil, &StartError{Step: "wait", Path: "keeper", Err: err}
	}
	p, err := adopt(ctx, k.path)
	if err == nil && p.pidfd != nil {
		return p, nil
	}
	if err == nil { // its process has ended: after it executed its command, or before
		ready, e := s.result(ctx)
		if e == nil && ready && !p.state.Ended.IsZero() { // its keeper has written that down
			return p, nil
		}
		_ = p.Close()
		if err = e; e == nil {
			err = errors.New("the keeper has ended")
		}
		return nil, startErrorOf(err)
	}
	if ctx.Err() != nil { // the process is there, and goes on if nobody ends it
		k.abandon(ctx)
	}
	// The keeper has ended, and may have said why.
	if _, e := s.result(ctx); e != nil {
		err = e
	}
	return nil, startErrorOf(err)
}

// startErrorOf makes every error of a keeper's start a StartError.
func startErrorOf(err error) error {
	var start *StartError
	if errors.As(err, &start) {
		return err
	}
	return &StartError{Step: "start", Path: "keeper", Err: err}
}

// abandon ends a process whose start was given up before it was met.
func (k *keeper) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discarding)
	defer cancel()
	if p, err := adopt(ctx, k.path); err == nil {
		p.discard()
	}
}

// A kept is a Process's way to its keeper.
type kept struct {
	dir *os.File
}

// Adopt returns the process that was started with a [Keep] of the folder dir, by this program or one before it, running
// or ended. ctx bounds how long the keeper is waited for. Wait of it returns the same state however often and by whomever
// it is called; the state of a process whose keeper was killed is that of a process killed by SIGKILL.
//
// Errors: [ErrNotKept] if no process was started in dir.
func Adopt(ctx context.Context, dir string) (*Process, error) {
	p, err := adopt(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("adopt process of %s: %w", dir, err)
	}
	return p, nil
}

func adopt(ctx context.Context, dir string) (*Process, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	k := &kept{dir: f}
	p := &Process{kept: k, turn: make(chan struct{}, 1)}
	file, err := k.ask(ctx, askPidfd)
	switch {
	case err == nil:
		p.pidfd = file
		p.pid, err = pidOf(file)
	case errors.Is(err, os.ErrProcessDone):
		p.state, err = k.state(ctx)
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// pidOf is the number of a pidfd's process in this program's PID namespace, 0 if it has ended.
func pidOf(pidfd *os.File) (int, error) {
	var b []byte
	err := withDescriptor(pidfd, func(fd int) (err error) {
		b, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		return err
	})
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			return max(n, 0), err
		}
	}
	return 0, errors.New("not a pidfd")
}

// ask sends the keeper a message. The error is os.ErrProcessDone if it has ended.
func (k *kept) ask(ctx context.Context, what byte) (*os.File, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	reply := os.NewFile(uintptr(pair[0]), "keeper")
	defer reply.Close()
	for {
		err = withDescriptor(k.dir, func(dir int) error {
			return unix.Sendmsg(s, []byte{what}, unix.UnixRights(pair[1]), controlAddr(dir), unix.MSG_NOSIGNAL)
		})
		if err != unix.EAGAIN && err != unix.EINTR || ctx.Err() != nil { // EAGAIN: ten others ask
			break
		}
		time.Sleep(time.Millisecond)
	}
	_ = unix.Close(pair[1])
	switch {
	case errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT):
		return nil, os.ErrProcessDone
	case err != nil:
		return nil, os.NewSyscallError("sendmsg", err)
	}
	return receiveFile(ctx, reply)
}

// receiveFile receives a descriptor.
func receiveFile(ctx context.Context, from *os.File) (*os.File, error) {
	defer endWith(ctx, from)()
	conn, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	var b [8]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn := 0, 0
	var recvErr error
	err = conn.Read(func(fd uintptr) bool {
		n, oobn, _, _, recvErr = unix.Recvmsg(int(fd), b[:], oob, unix.MSG_CMSG_CLOEXEC)
		return recvErr != unix.EAGAIN && recvErr != unix.EINTR
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case recvErr != nil:
		return nil, os.NewSyscallError("recvmsg", recvErr)
	case n == 0:
		return nil, os.ErrProcessDone
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return nil, os.ErrInvalid
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, os.ErrInvalid
	}
	_ = unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "from keeper"), nil
}

// ended says whether the process of a pidfd has ended.
func ended(pidfd int) bool {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// state reads how the process ended, once the keeper has written that or is dead.
func (k *kept) state(ctx context.Context) (*State, error) {
	file, err := k.open(keepLock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotKept
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lock := int(file.Fd())
	for nap := time.Millisecond; ; nap = min(2*nap, 50*time.Millisecond) {
		err := unix.Flock(lock, unix.LOCK_SH|unix.LOCK_NB)
		if err == nil {
			break
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return nil, &os.PathError{Op: "flock", Path: keepLock, Err: err}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(nap):
		}
	}
	b, err := k.read(keepExit)
	if errors.Is(err, fs.ErrNotExist) {
		return &State{Code: -1, Signal: int(unix.SIGKILL)}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b) != exitSize || binary.NativeEndian.Uint64(b) != exitVersion {
		return nil, &os.PathError{Op: "read", Path: keepExit, Err: errors.New("not a keeper's record")}
	}
	var info unix.Siginfo
	var usage unix.Rusage
	copy((*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:], b[exitInfo:])
	copy((*[unsafe.Sizeof(usage)]byte)(unsafe.Pointer(&usage))[:], b[exitUsage:])
	s := stateOf(&info, &usage)
	if s == nil {
		return nil, &os.PathError{Op: "read", Path: keepExit, Err: errors.New("not a keeper's record")}
	}
	s.Ended = time.Unix(int64(binary.NativeEndian.Uint64(b[exitTime:])), int64(binary.NativeEndian.Uint64(b[exitTime+8:])))
	return s, nil
}

func (k *kept) open(name string) (f *os.File, err error) {
	err = withDescriptor(k.dir, func(dir int) error {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: filepath.Join(k.dir.Name(), name), Err: err}
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	return f, err
}

func (k *kept) read(name string) ([]byte, error) {
	f, err := k.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, exitSize+1))
}

func (k *kept) close() { _ = k.dir.Close() }

// Input returns the writing end of a kept process's standard input, or its terminal. The caller closes it. Errors:
// os.ErrProcessDone if the process has ended; os.ErrClosed if it has no input, or CloseInput was called.
func (p *Process) Input(ctx context.Context) (*os.File, error) {
	if p.kept == nil {
		return nil, fmt.Errorf("input of process %d: %w", p.pid, ErrNotKept)
	}
	f, err := p.kept.ask(ctx, askInput)
	if errors.Is(err, os.ErrProcessDone) && p.pidfd != nil && p.Signal(0) == nil {
		err = os.ErrClosed
	}
	return f, err
}

// CloseInput ends a kept process's standard input: it reads end of file when everyone who has called Input has closed
// what that returned. A terminal's session ends with its last user; this does nothing to it.
func (p *Process) CloseInput(ctx context.Context) error {
	if p.kept == nil {
		return fmt.Errorf("input of process %d: %w", p.pid, ErrNotKept)
	}
	_, err := p.kept.ask(ctx, askCloseInput) // the answer is the end of the connection
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
