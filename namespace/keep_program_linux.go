package namespace

import (
	"os"

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
// starts makes the keeper and ends; the keeper makes the process, which goes on with its own steps, and executes the
// program of all keepers: see keeperImage.
type keeperCompiler struct {
	*compiler
	k *keeper

	first, pidfd, image arg // descriptors that the host program gives, next to each other; the locks to hold come behind
	pid                 arg

	record  arg // how the process ended; to begin with, what the host program says: see the offsets below
	polls   arg // an array of struct pollfd: out, err, control, pidfd
	timeout arg // for the next poll: none, or the address of a time
	over    arg // 1 when the process has ended
	message arg // the last one that was received
	size    arg // of the log
	open    arg // 1 while the keeper has the input
}

// What the host program says to the keeper, in the place of the record.
const (
	saysMask  = 8  // of the log's sizes that are too big
	saysInput = 16 // 1 if there is an input
	saysTTY   = 24 // 1 if out is a socket, over which the terminal comes
)

// The keeper's descriptors.
const (
	keeperDir = iota
	keeperLockFD
	keeperLogFD
	keeperExitFD
	keeperControlFD
	keeperOut
	keeperErr
	keeperInput
	keeperAtEnd
	keeperPidfd
	keeperImageFD // closed by its execution
	keeperFDs
)

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
	if c.keptInUser() { // so that the namespaces that the keeper makes belong to the user namespace
		c.oomScore()
		c.labels()
		c.joinUser()
	}
	k.leave(keeper)
	c.place(keeper)
	k.detach()
	k.start(process)
	k.become()
	c.place(process)
}

func (k *keeperCompiler) files() {
	h := k.k
	k.first = arg{kind: argFD, v: uint64(len(k.Program.files))}
	for _, x := range []struct {
		name string
		fd   *int
	}{
		{"folder", &h.dir}, {"lock", &h.lock}, {"log", &h.log}, {"exit", &h.exit}, {"control", &h.control}, {"out", &h.out},
		{"err", &h.err}, {"input", &h.input}, {"file to read at the end", &h.atEnd}, {"place of the pidfd", &h.dir},
	} {
		k.pidfd = k.file("keeper's "+x.name, func() (int, bool, error) { return *x.fd, false, nil })
	}
	k.image = k.file("keeper's program", func() (int, bool, error) { return h.openImage(k.l.StubDir) })
	for _, f := range h.locks {
		k.file("held "+f.Name(), useFile(f))
	}
}

// leave ends the host program's child; its own child is the keeper.
func (k *keeperCompiler) leave(keeper int) {
	flag := uint64(unix.SIGCHLD)
	if k.l.Namespaces.PID.isNew() {
		flag |= unix.CLONE_NEWPID
	}
	if k.k.groupDir != nil {
		k.cloneInto(k.k.groupDir, flag&^uint64(unix.SIGCHLD), null)
	} else {
		k.call("clone", unix.SYS_CLONE, arg{kind: argHex, v: flag}, null, null, null, null).to(k.pid).about("keeper")
	}
	k.if0(k.pid, keeper)
	k.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
}

// cloneInto makes a process in a control group of the unified hierarchy.
func (k *keeperCompiler) cloneInto(dir *os.File, flag uint64, pidfd arg) {
	fd := k.file(dir.Name(), useFile(dir))
	args := k.pointers("clone_args", arg{kind: argHex, v: flag | unix.CLONE_INTO_CGROUP}, pidfd, null, null, num(int(unix.SIGCHLD)), null,
		null, null, null, null, fd)
	k.call("clone3", unix.SYS_CLONE3, args, num(88)).to(k.pid).about(dir.Name())
}

func (k *keeperCompiler) detach() {
	for _, f := range k.k.groupTasks {
		k.call("write", unix.SYS_WRITE, k.file(f.Name(), useFile(f)), k.str("0"), num(1)).about(f.Name())
	}
	k.call("setsid", unix.SYS_SETSID)
	k.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_SETMASK), k.words("all", ^uint64(0)), null, num(8))
	k.call("chdir", unix.SYS_CHDIR, k.str("/"))
}

// start makes the process, which goes to the label.
func (k *keeperCompiler) start(process int) {
	if join := k.l.Namespaces.PID.Join; join != nil { // what it makes is born there; the keeper itself stays outside
		k.call("setns", unix.SYS_SETNS, k.file("pid namespace", useFile(join)), flags(unix.CLONE_NEWPID, cloneNames)).about("pid namespace")
	}
	pidfd := k.variable("pidfd", 8)
	flag := k.k.cloneFlags | unix.CLONE_PIDFD
	if dir := k.l.CgroupDir; dir != nil {
		k.cloneInto(dir, flag, pidfd.addr())
	} else {
		k.call("clone", unix.SYS_CLONE, arg{kind: argHex, v: flag | uint64(unix.SIGCHLD)}, null, pidfd.addr(), null, null).
			to(k.pid).about("process")
	}
	k.if0(k.pid, process)
	k.call("dup3", unix.SYS_DUP3, pidfd, k.pidfd, num(0))
}

// become lets go of what is the process's, the stub's memory too, and executes the program of all keepers. A descriptor's
// new number is less than its old one, since the process's standard files are before it.
func (k *keeperCompiler) become() {
	for i := range keeperFDs {
		fl := 0
		if i == keeperImageFD {
			fl = unix.O_CLOEXEC
		}
		k.call("dup3", unix.SYS_DUP3, num(int(k.first.v)+i), num(i), num(fl))
	}
	held := int(k.image.v) + 1
	k.closeRange(keeperFDs, held-1)
	k.closeRange(held+len(k.k.locks), 1<<32-1)
	argv := k.strings([]string{keeperName})
	k.call("execveat", unix.SYS_EXECVEAT, num(keeperImageFD), k.str(""), argv, k.strings(nil), num(unix.AT_EMPTY_PATH)).about("keeper")
}

const keeperName = "caisson-keep"

// newKeeperProgram makes the program of a keeper whose process is there. It is the same for all of them, so that its memory
// is theirs together: what differs is in the record's place.
func newKeeperProgram() *Program {
	p := newProgram()
	p.inline = -1 // nobody hears of a step that fails: the keeper ends, and that says it
	k := &keeperCompiler{compiler: &compiler{Program: p, l: &Launch{}}}
	k.begin()
	k.loop()
	k.end()
	return p
}

func (k *keeperCompiler) begin() {
	k.call("prctl", unix.SYS_PRCTL, num(unix.PR_SET_NAME), k.str(keeperName), num(0), num(0), num(0))
	k.call("prctl", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(0), num(0), num(0), num(0))
	const fixed = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE
	k.call("mmap", unix.SYS_MMAP, arg{kind: argHex, v: frameAddr}, num(frameHeader+frameData), num(unix.PROT_READ|unix.PROT_WRITE),
		num(fixed), num(-1), num(0))
	k.record, k.open = k.variable("record", exitSize), k.variable("open", 8)
	n, input, without := k.variable("n", 8), k.label(), k.label()
	k.call("pread64", unix.SYS_PREAD64, num(keeperExitFD), k.record.addr(), num(exitSize), num(0)).to(n)
	k.is(n, num(exitSize), all, k.dead())
	k.op(opSet, k.record.at(saysInput)).to(k.open)
	k.if0(k.open, without)
	k.jump(input)
	k.place(without)
	k.call("close", unix.SYS_CLOSE, num(keeperInput))
	k.place(input)
	k.polls = k.variable("polls", pollSize)
	for i, fd := range []int{keeperOut, keeperErr, keeperControlFD, keeperPidfd} {
		k.op(opSet, arg{kind: argHex, v: uint64(fd) | unix.POLLIN<<32}).to(k.polls.at(8 * i))
	}
	none := k.label()
	k.if0(k.record.at(saysTTY), none)
	k.op(opSet, num(-1)).to(k.polls.at(pollErr))
	k.receiveTerminal(none)
	k.place(none)
}

// dead is a label of the keeper's end without a record.
func (k *keeperCompiler) dead() int {
	dead, on := k.label(), k.label()
	k.jump(on)
	k.place(dead)
	k.call("exit_group", unix.SYS_EXIT_GROUP, num(1))
	k.place(on)
	return dead
}

// receiveTerminal puts the terminal's other end, which the process sends, in the place of its output. Without one the
// process has failed.
func (k *keeperCompiler) receiveTerminal(none int) {
	out := num(keeperOut)
	fd, have := k.receive(out, 0)
	k.if0(have, none)
	k.call("dup3", unix.SYS_DUP3, fd, out, num(unix.O_CLOEXEC))
	k.call("close", unix.SYS_CLOSE, fd)
	k.call("dup3", unix.SYS_DUP3, out, num(keeperInput), num(unix.O_CLOEXEC))
	// The process may flush what the keeper was told of.
	k.call("fcntl", unix.SYS_FCNTL, out, num(unix.F_SETFL), num(unix.O_RDWR|unix.O_NONBLOCK))
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
	k.timeout, k.over, k.size = k.variable("timeout", 8), k.variable("over", 8), k.variable("size", 8)
	ready, n := k.variable("ready", 8), k.variable("n", 8)
	again, some, done := k.label(), k.label(), k.label()
	k.call("lseek", unix.SYS_LSEEK, num(keeperLogFD), num(0), num(unix.SEEK_END)).to(k.size) // it may go on with one that was there
	k.place(again)
	k.call("ppoll", unix.SYS_PPOLL, k.polls.addr(), num(pollSize/8), k.timeout, null, num(8)).to(ready).orElse(again, anyError)
	k.op(opTest, ready, num(0), all).orElse(some, anyError) // 0 only if there is a timeout
	k.op(opTest, k.over, num(0), all).orElse(done, anyError)
	k.op(opSet, num(0)).to(k.timeout)
	// A while without a big frame: its memory is given back.
	k.call("madvise", unix.SYS_MADVISE, arg{kind: argHex, v: frameAddr + framePage}, num(frameHeader+frameData-framePage), num(unix.MADV_DONTNEED))
	k.ignore(anyError)
	k.jump(again)
	k.place(some)
	k.when(pollOut, func() { k.copy(keeperOut, pollOut, n) })
	k.when(pollErr, func() { k.copy(keeperErr, pollErr, n) })
	k.when(pollControl, k.answer)
	k.when(pollPidfd, func() {
		k.op(opSet, num(-1)).to(k.polls.at(pollPidfd))
		k.op(opSet, num(-1)).to(k.polls.at(pollControl))
		k.op(opSet, num(1)).to(k.over)
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

// The buffer of a frame: a mapping of its own, at a place of its own, of which only the first page stays in memory.
const (
	frameAddr = 0x10000000
	framePage = 4096
)

// copy reads once and appends a frame to the log. What cannot be written, because the disk is full, is lost, and nothing
// of it stays.
func (k *keeperCompiler) copy(from, at int, n arg) {
	frame := func(off uint64) arg { return arg{kind: argHex, v: frameAddr + off} }
	total, written := k.variable("total", 8), k.variable("written", 8)
	gone, end, short, whole, rotate := k.label(), k.label(), k.label(), k.label(), k.label()
	read, big, small := k.label(), k.label(), k.label()
	k.call("read", unix.SYS_READ, num(from), frame(frameHeader), num(frameData)).to(n).orElse(gone, anyError)
	k.if0(n, read)
	stream := Stdout
	if at == pollErr {
		stream = Stderr
	}
	k.op(opSet, num(int(stream))).outAt = frameAddr
	k.op(opSet, n).outAt = frameAddr + 8
	k.call("clock_gettime", unix.SYS_CLOCK_GETTIME, num(unix.CLOCK_REALTIME), frame(16))
	k.op(opAdd, n, num(frameHeader)).to(total)
	k.op(opTest, total, num(0), arg{kind: argHex, v: ^uint64(framePage - 1)}).goTo(small).orElse(big, anyError)
	k.place(big)
	k.op(opTest, k.over, num(0), all).orElse(small, anyError)
	k.op(opSet, k.words("200ms", 0, 200_000_000)).to(k.timeout)
	k.place(small)
	k.op(opSet, num(0)).to(written)
	k.call("write", unix.SYS_WRITE, num(keeperLogFD), frame(0), total).to(written)
	k.ignore(anyError)
	k.op(opTest, written, total, all).goTo(whole).orElse(short, anyError)
	k.place(short)
	k.call("ftruncate", unix.SYS_FTRUNCATE, num(keeperLogFD), k.size).goTo(end).orElse(end, anyError)
	k.place(whole)
	k.op(opAdd, k.size, total).to(k.size)
	k.op(opTest, k.size, num(0), k.record.at(saysMask)).goTo(end).orElse(rotate, anyError)
	k.place(rotate)
	k.rotate(end)
	k.jump(end)
	k.place(gone)
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
	k.call("openat", unix.SYS_OPENAT, num(keeperDir), k.str(keepLog), num(fl), octal(0o600)).to(fd).orElse(end, anyError)
	k.call("dup3", unix.SYS_DUP3, fd, num(keeperLogFD), num(unix.O_CLOEXEC))
	k.call("close", unix.SYS_CLOSE, fd)
	k.op(opSet, num(0)).to(k.size)
}

func (k *keeperCompiler) rename(from, to string) *step {
	return k.call("renameat2", unix.SYS_RENAMEAT2, num(keeperDir), k.str(from), num(keeperDir), k.str(to), num(0)).about(to)
}

// What a message over the control socket asks for. The answer goes over the socket that comes with it.
const (
	askPidfd      = 'p' // the process's pidfd
	askInput      = 'i' // the writing end of its input, or its terminal
	askCloseInput = 'c' // to let go of that
)

func (k *keeperCompiler) answer() {
	fd, have := k.receive(num(keeperControlFD), unix.MSG_DONTWAIT)
	none, input, closeInput, done := k.label(), k.label(), k.label(), k.label()
	k.if0(have, none)
	k.is(k.message, num(askPidfd), all, input)
	k.sendDescriptor(fd, num(keeperPidfd))
	k.ignore(anyError)
	k.jump(done)
	k.place(input)
	k.is(k.message, num(askInput), all, closeInput)
	k.if0(k.open, done)
	k.sendDescriptor(fd, num(keeperInput))
	k.ignore(anyError)
	k.jump(done)
	k.place(closeInput)
	k.is(k.message, num(askCloseInput), all, done)
	tty := k.label()
	k.if0(k.record.at(saysTTY), tty)
	k.jump(done)
	k.place(tty)
	k.if0(k.open, done)
	k.call("close", unix.SYS_CLOSE, num(keeperInput))
	k.op(opSet, num(0)).to(k.open)
	k.place(done)
	k.call("close", unix.SYS_CLOSE, fd)
	k.ignore(anyError)
	k.place(none)
}

// end writes down how the process ended. The record's file is there with its full size: no full disk can prevent that.
func (k *keeperCompiler) end() {
	record := k.record
	k.op(opSet, num(exitVersion)).to(record)
	k.op(opSet, num(0)).to(record.at(saysTTY)) // the kernel fills in some fields only
	wait := k.label()
	k.place(wait)
	const byPidfd = 3 // P_PIDFD
	k.call("waitid", unix.SYS_WAITID, num(byPidfd), num(keeperPidfd), record.at(exitInfo).addr(), num(unix.WEXITED), record.at(exitUsage).addr()).
		orElse(wait, errnoSet(int(unix.EINTR)))
	k.readAtEnd()
	k.call("clock_gettime", unix.SYS_CLOCK_GETTIME, num(unix.CLOCK_REALTIME), record.at(exitTime).addr())
	k.call("pwrite64", unix.SYS_PWRITE64, num(keeperExitFD), record.addr(), num(exitSize), num(0))
	k.call("fsync", unix.SYS_FSYNC, num(keeperExitFD))
	k.ignore(anyError)
	k.rename(keepExitNew, keepExit)
	k.call("fsync", unix.SYS_FSYNC, num(keeperDir))
	k.ignore(anyError)
	k.call("unlinkat", unix.SYS_UNLINKAT, num(keeperDir), k.str(keepControl), num(0))
	k.ignore(anyError)
	k.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
}

// readAtEnd keeps what a file says now. Where there is none, a folder is in its place.
func (k *keeperCompiler) readAtEnd() {
	n, fd, none := k.variable("n", 8), k.variable("at end", 8), k.label()
	text := arg{kind: argHex, v: frameAddr}
	k.call("pread64", unix.SYS_PREAD64, num(keeperAtEnd), text, num(framePage), num(0)).to(n).orElse(none, anyError)
	fl := unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_CLOEXEC
	k.call("openat", unix.SYS_OPENAT, num(keeperDir), k.str(AtEndFile), num(fl), octal(0o600)).to(fd).orElse(none, anyError)
	k.call("write", unix.SYS_WRITE, fd, text, n)
	k.ignore(anyError)
	k.call("close", unix.SYS_CLOSE, fd)
	k.place(none)
}
