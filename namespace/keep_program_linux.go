package namespace

import (
	"golang.org/x/sys/unix"
)

// The record of a process's end, in the machine's byte order: a version, the time (struct timespec), what waitid(2) says
// (siginfo_t) and the resources used (struct rusage).
const (
	exitVersion = 1
	exitTime    = 8
	exitInfo    = exitTime + 16
	exitUsage   = exitInfo + 128
	exitSize    = exitUsage + 144
)

// A keeperCompiler writes the keeper's steps, which come before those of the process. The stub that the host program
// starts makes the keeper and ends; the keeper makes the process, which goes on with its own steps.
type keeperCompiler struct {
	*compiler
	k *keeper

	// Descriptors, next to each other: those to hold are first.
	first, dir, lock, log, exit, control, out, err, input, pidfd arg

	pid     arg
	polls   arg // an array of struct pollfd: out, err, control, pidfd
	timeout arg
	message arg // the last one that was received
	size    arg // of the log
	frame   arg
	open    arg // 1 while the keeper has the input
}

// What is polled for, by its place in polls.
const (
	pollOut = 8 * iota
	pollErr
	pollControl
	pollPidfd
	pollSize // of the array
)

func (c *compiler) keep() {
	if c.l.keeper == nil {
		return
	}
	k := &keeperCompiler{compiler: c, k: c.l.keeper}
	k.files()
	keeper, process := c.label(), c.label()
	k.pid = c.variable("pid", 8)
	k.leave(keeper)
	c.place(keeper)
	k.detach()
	k.start(process)
	k.loop()
	k.end()
	c.place(process)
}

func (k *keeperCompiler) files() {
	take := func(name string, fd *int) arg {
		return k.file("keeper's "+name, func() (int, bool, error) { return *fd, false, nil })
	}
	h := k.k
	k.first = arg{v: uint64(len(k.Program.files))}
	for _, f := range h.locks {
		k.file("held "+f.Name(), useFile(f))
	}
	k.dir, k.lock, k.log, k.exit = take("folder", &h.dir), take("lock", &h.lock), take("log", &h.log), take("exit", &h.exit)
	k.control, k.out, k.err = take("control", &h.control), take("out", &h.out), take("err", &h.err)
	k.input = take("input", &h.input)
	k.pidfd = take("place of the pidfd", &h.dir)
}

// leave ends the host program's child; its own child is the keeper.
func (k *keeperCompiler) leave(keeper int) {
	flag := uint64(unix.SIGCHLD)
	if k.l.Namespaces.PID.isNew() {
		flag |= unix.CLONE_NEWPID
	}
	k.call("clone", unix.SYS_CLONE, arg{kind: argHex, v: flag}, null, null, null, null).to(k.pid).about("keeper")
	k.if0(k.pid, keeper)
	k.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
}

func (k *keeperCompiler) detach() {
	k.call("setsid", unix.SYS_SETSID)
	k.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_SETMASK), k.words("all", ^uint64(0)), null, num(8))
	k.call("chdir", unix.SYS_CHDIR, k.str("/"))
}

// start makes the process, which goes to the label, and lets go of what is the process's.
func (k *keeperCompiler) start(process int) {
	pidfd := k.variable("pidfd", 8)
	flag := k.k.cloneFlags | unix.CLONE_PIDFD
	if dir := k.l.CgroupDir; dir != nil {
		fd := k.file(dir.Name(), useFile(dir))
		hex := func(v uint64) arg { return arg{kind: argHex, v: v} }
		args := k.pointers("clone_args", hex(flag|unix.CLONE_INTO_CGROUP), pidfd.addr(), null, null, num(int(unix.SIGCHLD)), null,
			null, null, null, null, fd)
		k.call("clone3", unix.SYS_CLONE3, args, num(88)).to(k.pid).about(dir.Name())
	} else {
		k.call("clone", unix.SYS_CLONE, arg{kind: argHex, v: flag | uint64(unix.SIGCHLD)}, null, pidfd.addr(), null, null).
			to(k.pid).about("process")
	}
	k.if0(k.pid, process)
	k.call("prctl", unix.SYS_PRCTL, num(unix.PR_SET_NAME), k.str("caisson-keep"), num(0), num(0), num(0))
	k.call("dup3", unix.SYS_DUP3, pidfd, k.pidfd, num(unix.O_CLOEXEC))
	k.call("prctl", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(0), num(0), num(0), num(0))
	k.call("close_range", unix.SYS_CLOSE_RANGE, num(int(k.pidfd.v)+1), arg{kind: argHex, v: 1<<32 - 1}, num(0))
	k.call("close_range", unix.SYS_CLOSE_RANGE, num(0), num(int(k.first.v)-1), num(0))
	k.open = k.variable("open", 8)
	if k.k.hasInput {
		k.op(opSet, num(1)).to(k.open)
	} else {
		k.call("close", unix.SYS_CLOSE, k.input)
	}
	if k.l.TTY {
		k.receiveTerminal()
	}
}

// receiveTerminal puts the terminal's other end, which the process sends, in the place of its output. Without one the
// process has failed.
func (k *keeperCompiler) receiveTerminal() {
	fd, have := k.receive(k.out, 0)
	none := k.label()
	k.if0(have, none)
	k.call("dup3", unix.SYS_DUP3, fd, k.out, num(unix.O_CLOEXEC))
	k.call("close", unix.SYS_CLOSE, fd)
	k.call("dup3", unix.SYS_DUP3, k.out, k.input, num(unix.O_CLOEXEC))
	// The process may flush what the keeper was told of.
	k.call("fcntl", unix.SYS_FCNTL, k.out, num(unix.F_SETFL), num(unix.O_RDWR|unix.O_NONBLOCK))
	k.place(none)
}

// receive takes a message of at most 8 bytes, and the descriptor that comes with it unless have is 0.
func (k *keeperCompiler) receive(socket arg, fl int) (fd, have arg) {
	msg, iov, control := k.variable("msg", 56), k.variable("iov", 16), k.variable("control", 24)
	message := k.variable("message", 8)
	have, fd = control, control.at(16)
	k.op(opSet, message.addr()).to(iov)
	k.op(opSet, num(8)).to(iov.at(8))
	k.op(opSet, iov.addr()).to(msg.at(16))
	k.op(opSet, num(1)).to(msg.at(24))
	k.op(opSet, control.addr()).to(msg.at(32))
	k.op(opSet, num(24)).to(msg.at(40))
	k.op(opSet, num(0)).to(message)
	k.op(opSet, num(0)).to(have)
	k.op(opSet, num(0)).to(fd)
	k.call("recvmsg", unix.SYS_RECVMSG, socket, msg.addr(), num(unix.MSG_CMSG_CLOEXEC|fl))
	k.ignore(anyError)
	k.message = message
	return fd, have
}

// loop copies what the process prints to the log and answers who asks, until the process has ended and its output is
// read to the end.
func (k *keeperCompiler) loop() {
	k.polls, k.timeout = k.variable("polls", pollSize), k.variable("timeout", 8)
	k.size, k.frame = k.variable("size", 8), k.variable("frame", frameHeader+frameData)
	for i, fd := range []arg{k.out, k.err, k.control, k.pidfd} {
		k.op(opSet, arg{kind: argHex, v: fd.v | unix.POLLIN<<32}).to(k.polls.at(8 * i))
	}
	if k.l.TTY {
		k.op(opSet, num(-1)).to(k.polls.at(pollErr))
	}
	ready, n := k.variable("ready", 8), k.variable("n", 8)
	again, done := k.label(), k.label()
	k.place(again)
	k.call("ppoll", unix.SYS_PPOLL, k.polls.addr(), num(pollSize/8), k.timeout, null, num(8)).to(ready).orElse(again, anyError)
	k.if0(ready, done) // only once timeout is set
	k.when(pollOut, func() { k.copy(k.out, pollOut, n) })
	k.when(pollErr, func() { k.copy(k.err, pollErr, n) })
	k.when(pollControl, k.answer)
	k.when(pollPidfd, func() {
		k.op(opSet, num(-1)).to(k.polls.at(pollPidfd))
		k.op(opSet, num(-1)).to(k.polls.at(pollControl))
		k.op(opSet, k.words("0s", 0, 0)).to(k.timeout)
	})
	k.jump(again)
	k.place(done)
}

// when runs body's steps if a descriptor of polls is ready.
func (k *keeperCompiler) when(at int, body func()) {
	have, skip := k.label(), k.label()
	k.op(opTest, k.polls.at(at), num(0), arg{kind: argHex, v: 0xffff << 48}).goTo(skip).orElse(have, anyError)
	k.place(have)
	body()
	k.place(skip)
}

// copy reads once and appends a frame to the log. What cannot be written, because the disk is full, is lost, and nothing
// of it stays.
func (k *keeperCompiler) copy(from arg, at int, n arg) {
	total, written := k.variable("total", 8), k.variable("written", 8)
	ended, end, short, whole, rotate := k.label(), k.label(), k.label(), k.label(), k.label()
	read := k.label()
	k.call("read", unix.SYS_READ, from, k.frame.at(frameHeader).addr(), num(frameData)).to(n).orElse(ended, anyError)
	k.if0(n, read)
	stream := Stdout
	if at == pollErr {
		stream = Stderr
	}
	k.op(opSet, num(int(stream))).to(k.frame)
	k.op(opSet, n).to(k.frame.at(8))
	k.call("clock_gettime", unix.SYS_CLOCK_GETTIME, num(unix.CLOCK_REALTIME), k.frame.at(16).addr())
	k.op(opAdd, n, num(frameHeader)).to(total)
	k.op(opSet, num(0)).to(written)
	k.call("write", unix.SYS_WRITE, k.log, k.frame.addr(), total).to(written)
	k.ignore(anyError)
	k.op(opTest, written, total, all).goTo(whole).orElse(short, anyError)
	k.place(short)
	k.call("ftruncate", unix.SYS_FTRUNCATE, k.log, k.size).goTo(end).orElse(end, anyError)
	k.place(whole)
	k.op(opAdd, k.size, total).to(k.size)
	k.op(opTest, k.size, num(0), arg{kind: argHex, v: ^(uint64(k.k.logSize) - 1)}).goTo(end).orElse(rotate, anyError)
	k.place(rotate)
	k.rotate(end)
	k.jump(end)
	k.place(ended)
	passing := k.label()
	k.op(opTest, arg{kind: argErrno}, num(int(unix.EINTR)), all).goTo(end).orElse(passing, anyError)
	k.place(passing)
	k.op(opTest, arg{kind: argErrno}, num(int(unix.EAGAIN)), all).goTo(end).orElse(read, anyError)
	k.place(read)
	k.op(opSet, num(-1)).to(k.polls.at(at))
	k.place(end)
}

// rotate begins a new log.
func (k *keeperCompiler) rotate(end int) {
	fd := k.variable("new log", 8)
	renamed, failed := k.label(), k.label()
	k.rename(keepLog, keepOldLog).goTo(renamed).orElse(failed, anyError)
	k.place(failed) // ENOENT: it was renamed before, but then no new one could be made
	k.is(arg{kind: argErrno}, num(int(unix.ENOENT)), all, end)
	k.place(renamed)
	fl := unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_APPEND | unix.O_CLOEXEC
	k.call("openat", unix.SYS_OPENAT, k.dir, k.str(keepLog), num(fl), octal(0o600)).to(fd).orElse(end, anyError)
	k.call("dup3", unix.SYS_DUP3, fd, k.log, num(unix.O_CLOEXEC))
	k.call("close", unix.SYS_CLOSE, fd)
	k.op(opSet, num(0)).to(k.size)
}

func (k *keeperCompiler) rename(from, to string) *step {
	return k.call("renameat2", unix.SYS_RENAMEAT2, k.dir, k.str(from), k.dir, k.str(to), num(0)).about(to)
}

// What a message over the control socket asks for. The answer goes over the socket that comes with it.
const (
	askPidfd      = 'p' // the process's pidfd
	askInput      = 'i' // the writing end of its input, or its terminal
	askCloseInput = 'c' // to let go of that
)

func (k *keeperCompiler) answer() {
	fd, have := k.receive(k.control, unix.MSG_DONTWAIT)
	none, input, closeInput, done := k.label(), k.label(), k.label(), k.label()
	k.if0(have, none)
	k.is(k.message, num(askPidfd), all, input)
	k.sendDescriptor(fd, k.pidfd)
	k.ignore(anyError)
	k.jump(done)
	k.place(input)
	k.is(k.message, num(askInput), all, closeInput)
	k.if0(k.open, done)
	k.sendDescriptor(fd, k.input)
	k.ignore(anyError)
	k.jump(done)
	k.place(closeInput)
	k.is(k.message, num(askCloseInput), all, done)
	if !k.l.TTY {
		k.if0(k.open, done)
		k.call("close", unix.SYS_CLOSE, k.input)
		k.op(opSet, num(0)).to(k.open)
	}
	k.place(done)
	k.call("close", unix.SYS_CLOSE, fd)
	k.ignore(anyError)
	k.place(none)
}

// end writes down how the process ended. The record's file is there with its full size: no full disk can prevent that.
func (k *keeperCompiler) end() {
	record := k.variable("record", exitSize)
	k.op(opSet, num(exitVersion)).to(record)
	wait := k.label()
	k.place(wait)
	const byPidfd = 3 // P_PIDFD
	k.call("waitid", unix.SYS_WAITID, num(byPidfd), k.pidfd, record.at(exitInfo).addr(), num(unix.WEXITED), record.at(exitUsage).addr()).
		orElse(wait, errnoSet(int(unix.EINTR)))
	k.call("clock_gettime", unix.SYS_CLOCK_GETTIME, num(unix.CLOCK_REALTIME), record.at(exitTime).addr())
	k.call("pwrite64", unix.SYS_PWRITE64, k.exit, record.addr(), num(exitSize), num(0))
	k.call("fsync", unix.SYS_FSYNC, k.exit)
	k.ignore(anyError)
	k.rename(keepExitNew, keepExit)
	k.call("fsync", unix.SYS_FSYNC, k.dir)
	k.ignore(anyError)
	k.call("unlinkat", unix.SYS_UNLINKAT, k.dir, k.str(keepControl), num(0))
	k.ignore(anyError)
	k.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
}
