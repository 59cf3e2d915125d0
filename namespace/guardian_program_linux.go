package namespace

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The guardian tries again, after a nap each time, while processes that it has killed still end and their groups
// cannot be removed: some twenty seconds.
const (
	guardianNap   = time.Millisecond
	guardianTries = 15000
)

// guardianProgram is what the guardian does: it keeps the pidfds that come over the socket, and on end of file kills
// and removes what the table says.
//
// The stub is two processes. The first one, the host program's child, forks the second and exits, and the host program
// reaps it at once: so no wait4(-1) there ever meets the guardian, which is then a child of init, or of the subreaper
// next above. (CLONE_PARENT would make it the host program's child. If the host program is itself init of a PID
// namespace or a subreaper it is the parent all the same; but the guardian ends only after it.)
func guardianProgram(socket, table int) *Program {
	g := &guardianCompiler{Program: &Program{}}
	open := func(fd int) func() (int, bool, error) { return func() (int, bool, error) { return fd, false, nil } }
	g.socket, g.table = g.file("socket", open(socket)), g.file("wards", open(table))
	g.inline = len(g.files)
	report := g.file("report", nil)

	child := g.label()
	pid := g.variable("pid", 8)
	g.call("clone", unix.SYS_CLONE, num(int(unix.SIGCHLD)), null, null, null, null).to(pid)
	g.if0(pid, child)
	g.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
	g.place(child)
	g.detach(report, "caisson-guard")
	g.receive()
	g.kill()
	g.remove()
	return g.Program
}

type guardianCompiler struct {
	*Program
	socket, table arg
	record        arg // the record at hand
	at            arg // its offset in the table
	left          arg // 1 when something could not be removed yet
	tries         arg
	again         int // label: kill once more
}

// detach leaves everything of the host program: session, signals, working directory, descriptors.
func (g *guardianCompiler) detach(report arg, name string) {
	g.call("setsid", unix.SYS_SETSID)
	g.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_SETMASK), g.words("all", ^uint64(0)), null, num(8))
	g.call("chdir", unix.SYS_CHDIR, g.str("/"))
	g.call("prctl", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(0), num(0), num(0), num(0))
	g.call("prctl", unix.SYS_PRCTL, num(unix.PR_SET_NAME), g.str(name), num(0), num(0), num(0))
	// It runs once and briefly, but then among whatever keeps the machine busy.
	g.call("setpriority", unix.SYS_SETPRIORITY, num(unix.PRIO_PROCESS), num(0), num(-20))
	g.ignore(anyError)
	limit := g.variable("limit", 16)
	g.call("prlimit64", unix.SYS_PRLIMIT64, num(0), num(unix.RLIMIT_NOFILE), null, limit.addr())
	g.op(opSet, limit.at(8)).to(limit)
	g.call("prlimit64", unix.SYS_PRLIMIT64, num(0), num(unix.RLIMIT_NOFILE), limit.addr(), null)
	g.call("close_range", unix.SYS_CLOSE_RANGE, num(int(report.v)+1), arg{kind: argHex, v: 1<<32 - 1}, num(0))
	g.call("close", unix.SYS_CLOSE, report) // now the host program knows that we are ready
}

// receive keeps and drops pidfds until the socket's other end is closed. A message is the number under which the pidfd
// that comes with it is kept; without one, that number is closed.
func (g *guardianCompiler) receive() {
	msg, iov, control := g.variable("msg", 56), g.variable("iov", 16), g.variable("control", 24)
	number, n := g.variable("number", 8), g.variable("n", 8)
	fd := control.at(16)
	g.op(opSet, number.addr()).to(iov)
	g.op(opSet, num(8)).to(iov.at(8))
	g.op(opSet, iov.addr()).to(msg.at(16))
	g.op(opSet, num(1)).to(msg.at(24))
	g.op(opSet, control.addr()).to(msg.at(32))

	loop, drop, dead := g.label(), g.label(), g.label()
	g.place(loop)
	g.op(opSet, num(24)).to(msg.at(40))
	g.op(opSet, num(0)).to(fd)
	passing := errnoSet(int(unix.EINTR), int(unix.EAGAIN), int(unix.ENOMEM))
	g.call("recvmsg", unix.SYS_RECVMSG, g.socket, msg.addr(), num(unix.MSG_CMSG_CLOEXEC)).to(n).orElse(loop, passing)
	g.if0(n, dead)
	g.if0(fd, drop)
	g.call("dup3", unix.SYS_DUP3, fd, number, num(unix.O_CLOEXEC))
	g.ignore(anyError)
	g.call("close", unix.SYS_CLOSE, fd).goTo(loop)
	g.place(drop)
	g.call("close", unix.SYS_CLOSE, number).goTo(loop).orElse(loop, anyError)
	g.place(dead)
}

// eachRecord makes a loop over the table. body's steps handle g.record; skip leads on to the next one.
func (g *guardianCompiler) eachRecord(body func(skip int)) {
	n := g.variable("n", 8)
	loop, end := g.label(), g.label()
	g.op(opSet, num(-wardSize)).to(g.at)
	g.place(loop)
	g.op(opAdd, g.at, num(wardSize)).to(g.at)
	g.call("pread64", unix.SYS_PREAD64, g.table, g.record.addr(), num(wardSize), g.at).to(n).orElse(end, anyError)
	g.if0(n, end)
	g.is(g.record, num(1), all, loop)
	body(loop)
	g.jump(loop)
	g.place(end)
}

// kill ends every process of every ward.
func (g *guardianCompiler) kill() {
	g.record, g.at = g.variable("record", wardSize), g.variable("at", 8)
	g.left, g.tries = g.variable("left", 8), g.variable("tries", 8)
	path, fd := g.variable("path", 8), g.variable("fd", 8)
	g.again = g.label()
	g.place(g.again)
	g.eachRecord(func(skip int) {
		noProcess, noKill, noProcs, noFreezer := g.label(), g.label(), g.label(), g.label()
		g.if0(g.record.at(recordPidfd), noProcess)
		pidfd := g.record.at(recordPidfd)
		g.call("pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, pidfd, num(int(unix.SIGKILL)), null, num(0))
		g.ignore(anyError)
		g.place(noProcess)
		g.if0(g.record.at(recordKill), noKill)
		g.op(opAdd, g.record.addr(), g.record.at(recordKill)).to(path)
		g.call("openat", unix.SYS_OPENAT, num(atCWD), path, num(unix.O_WRONLY|unix.O_CLOEXEC), num(0)).to(fd).
			orElse(noKill, anyError)
		g.call("write", unix.SYS_WRITE, fd, g.str("1"), num(1))
		g.ignore(anyError)
		g.call("close", unix.SYS_CLOSE, fd)
		g.place(noKill)
		g.if0(g.record.at(recordProcs), noProcs)
		g.op(opAdd, g.record.addr(), g.record.at(recordProcs)).to(path)
		g.call("openat", unix.SYS_OPENAT, num(atCWD), path, num(unix.O_RDONLY|unix.O_CLOEXEC), num(0)).to(fd).
			orElse(noProcs, anyError)
		g.killListed(fd)
		g.call("close", unix.SYS_CLOSE, fd)
		g.place(noProcs)
		g.if0(g.record.at(recordFreezer), noFreezer)
		g.op(opAdd, g.record.addr(), g.record.at(recordFreezer)).to(path)
		g.thaw(num(atCWD), path, fd)
		g.place(noFreezer)
	})
}

// thaw lets the killed processes of a v1 group die.
func (g *guardianCompiler) thaw(dir, path, fd arg) {
	none := g.label()
	g.call("openat", unix.SYS_OPENAT, dir, path, num(unix.O_WRONLY|unix.O_CLOEXEC), num(0)).to(fd).orElse(none, anyError)
	g.call("write", unix.SYS_WRITE, fd, g.str("THAWED"), num(6))
	g.ignore(anyError)
	g.call("close", unix.SYS_CLOSE, fd)
	g.place(none)
}

// killListed kills the processes whose numbers are in the file, a line each. It reads byte by byte.
func (g *guardianCompiler) killListed(fd arg) {
	b, n, pid, twice := g.variable("byte", 8), g.variable("n", 8), g.variable("pid", 8), g.variable("twice", 8)
	number, digit, loop, end := g.label(), g.label(), g.label(), g.label()
	g.place(number)
	g.op(opSet, num(0)).to(pid)
	g.place(loop)
	g.call("read", unix.SYS_READ, fd, b.addr(), num(1)).to(n).orElse(end, anyError)
	g.if0(n, end)
	g.is(b, num('\n'), all, digit)
	g.if0(pid, number) // 0 stands for a process of another PID namespace, and would mean ourselves
	g.call("kill", unix.SYS_KILL, pid, num(int(unix.SIGKILL)))
	g.ignore(anyError)
	g.jump(number)
	g.place(digit) // pid = 10 * pid + digit
	g.op(opAdd, pid, pid).to(twice)
	g.op(opAdd, twice, twice).to(pid)
	g.op(opAdd, pid, pid).to(pid)
	g.op(opAdd, pid, twice).to(pid)
	g.op(opAdd, pid, b).to(pid)
	g.op(opAdd, pid, num(-'0')).to(pid)
	g.jump(loop)
	g.place(end)
}

// remove removes every ward's folders, tries again from the killing on while some are in use, and exits.
func (g *guardianCompiler) remove() {
	word, at, path := g.variable("word", 8), g.variable("word at", 8), g.variable("folder", 8)
	g.op(opSet, num(0)).to(g.left)
	g.eachRecord(func(skip int) {
		loop, own, busy := g.label(), g.label(), g.label()
		g.op(opAdd, g.at, num(recordFolders)).to(at)
		g.place(loop)
		g.call("pread64", unix.SYS_PREAD64, g.table, word.addr(), num(8), at).orElse(skip, anyError)
		g.op(opAdd, at, num(8)).to(at)
		g.if0(word, skip)
		g.op(opAdd, g.record.addr(), word).to(path)
		g.op(opTest, word, arg{kind: argHex, v: shared}, arg{kind: argHex, v: shared}).orElse(own, anyError)
		g.op(opAdd, path, num(-shared)).to(path)
		rmdir := func() *step {
			return g.call("unlinkat", unix.SYS_UNLINKAT, num(atCWD), path, num(unix.AT_REMOVEDIR)).goTo(loop)
		}
		rmdir().orElse(loop, anyError)
		g.place(own)
		rmdir().orElse(busy, anyError)
		g.place(busy)
		keep := g.label()
		g.op(opTest, arg{kind: argErrno}, num(int(unix.ENOENT)), all).goTo(loop).orElse(keep, anyError)
		g.place(keep)
		g.op(opSet, num(1)).to(g.left)
		g.walk(path)
		g.jump(loop)
	})
	done, nap := g.label(), g.label()
	g.if0(g.left, done)
	g.op(opAdd, g.tries, num(1)).to(g.tries)
	g.is(g.tries, num(guardianTries), all, nap)
	g.jump(done)
	g.place(nap)
	g.call("nanosleep", unix.SYS_NANOSLEEP, g.words(fmt.Sprint(guardianNap), 0, uint64(guardianNap)), null).
		goTo(g.again).orElse(g.again, anyError)
	g.place(done)
	g.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
}
