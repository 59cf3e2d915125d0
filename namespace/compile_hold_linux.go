package namespace

import (
	"golang.org/x/sys/unix"
)

// A held process has one descriptor, the socket over which it reports and gets the rest of its program. Below its number
// is room for the descriptors of the command.
const heldFD = 63

// compileHold makes the program of a process that sets itself up and waits for its command.
func (l *Launch) compileHold(p *Program) error {
	if l.Keep != nil || l.Gate != nil {
		return bad("Keep", "a held process has neither a keeper nor a gate")
	}
	if l.BeforeRoot != nil || l.BeforeCommand != nil {
		return bad("BeforeRoot", "nobody waits for a process that is set up ahead, as those of a pool are: it is to be started whole")
	}
	if err := l.check(); err != nil {
		return err
	}
	c := &compiler{Program: p, l: l, user: l.userMode()}
	c.report = c.file("report", nil)
	c.setUp()
	c.seal()
	c.hold()
	return nil
}

// compileHeld makes the rest: what belongs to the command.
func (l *Launch) compileHeld(p *Program) error {
	if err := l.check(); err != nil {
		return err
	}
	p.moved = true
	c := &compiler{Program: p, l: l, user: l.userMode()}
	c.standardFiles(once(openNull))
	c.inline, c.report = len(c.files), num(heldFD)
	c.terminal()
	c.ownFiles()
	c.closeRange(c.inline, heldFD-1)
	return c.finish()
}

// hold gives up all descriptors but the socket, waits for a message with the rest of the program and the command's
// descriptors, and goes on there. At the end of file, nobody wants the process any more.
func (c *compiler) hold() {
	sock := c.keepSocket()
	c.call("write", unix.SYS_WRITE, sock, c.str("h"), num(1)).about("report")

	// Received descriptors get the lowest numbers, in order: the command's from 0 on, and last the program's.
	const controlSize = 16 + 4*heldFD + 4
	control, size := c.variable("control", controlSize), c.variable("size", 16)
	iov := c.pointers("", size.addr(), num(16))
	msg := c.pointers("{[size, fd], SCM_RIGHTS}", num(0), num(0), iov, num(1), control.addr(), num(controlSize), num(0))
	n, wait, come, gone := c.variable("n", 8), c.label(), c.label(), c.label()
	c.place(wait)
	c.call("recvmsg", unix.SYS_RECVMSG, sock, msg, num(0)).to(n).about("command").orElse(wait, errnoSet(int(unix.EINTR)))
	c.op(opTest, n, num(16), all).goTo(come).orElse(gone, anyError)
	c.place(gone)
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
	c.place(come)
	const fixed = unix.MAP_PRIVATE | unix.MAP_FIXED_NOREPLACE
	c.call("mmap", unix.SYS_MMAP, arg{kind: argHex, v: heldAddr}, size, num(unix.PROT_READ|unix.PROT_WRITE), num(fixed), size.at(8), num(0)).
		about("command")
	c.op(opSet, num(0)).next = heldAddr + contextSize
}

// keepSocket gives up all descriptors but the socket, and returns that.
func (c *compiler) keepSocket() arg {
	sock := num(heldFD)
	c.call("dup3", unix.SYS_DUP3, c.report, sock, flags(unix.O_CLOEXEC, openNames)).about("report")
	c.op(opSet, sock).outAt = contextAddr + contextFD
	c.closeRange(0, heldFD-1)
	c.closeRange(heldFD+1, 1<<32-1)
	return sock
}

func (c *compiler) closeRange(first, last int) {
	c.call("close_range", unix.SYS_CLOSE_RANGE, num(first), arg{kind: argHex, v: uint64(last)}, num(0))
}
