package namespace

import "golang.org/x/sys/unix"

// compileForkServer makes the program of a fork server: it joins what the commands shall be in, takes on all that they have in
// common, and clones one for each message.
func (l *Launch) compileForkServer(p *Program) error {
	if err := l.check(); err != nil {
		return err
	}
	c := &compiler{Program: p, l: l, user: l.userMode()}
	c.report = c.file("report", nil)
	c.setUp()
	c.seal()
	sock := c.keepSocket()
	if err := c.landlock(); err != nil {
		return err
	}
	c.rlimits()
	c.signals()
	c.attributes()
	c.credentials()
	c.notDumpable() // which other credentials may have undone
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NAME, prctlNames), c.str("forkserver"), num(0), num(0), num(0))
	if !l.NewPrivileges {
		c.seccomp()
	}
	c.serve(sock)
	return nil
}

// serve takes a command's program and descriptors from a message and clones a process that runs it, again and again. That has
// this one's memory until it executes the command, for which this one waits. At the end of file nobody wants commands any more.
func (c *compiler) serve(sock arg) {
	const controlSize = 16 + 4*heldFD + 4
	control, msg, n, pid := c.variable("control", controlSize), c.variable("msg", 56), c.variable("n", 8), c.variable("pid", 8)
	wait, come, gone, child, next := c.label(), c.label(), c.label(), c.label(), c.label()
	place := arg{kind: argHex, v: heldAddr}
	const fixed = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE
	c.call("mmap", unix.SYS_MMAP, place, num(maxForked), num(unix.PROT_READ|unix.PROT_WRITE), num(fixed), num(-1), num(0)).about("command")
	c.op(opSet, c.pointers("", place, num(maxForked))).to(msg.at(16)) // msg_iov
	c.op(opSet, num(1)).to(msg.at(24))
	c.op(opSet, control.addr()).to(msg.at(32))
	c.call("write", unix.SYS_WRITE, sock, c.str("h"), num(1)).about("report")

	c.place(wait)
	c.op(opSet, num(controlSize)).to(msg.at(40))
	// Received descriptors get the lowest numbers, in order.
	c.call("recvmsg", unix.SYS_RECVMSG, sock, msg.addr(), num(0)).to(n).about("command").orElse(wait, errnoSet(int(unix.EINTR)))
	c.op(opTest, n, num(0), all).goTo(gone).orElse(come, anyError)
	c.place(gone)
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
	c.place(come)
	fl := flags(unix.CLONE_VM|unix.CLONE_VFORK|unix.CLONE_PARENT|uint64(unix.SIGCHLD), cloneNames)
	c.call("clone", unix.SYS_CLONE, fl, null, null, null, null).to(pid).orElse(next, anyError)
	c.if0(pid, child)
	c.op(opSet, sock).outAt = contextAddr + contextFD // the process had its own report
	c.place(next)
	c.closeRange(0, heldFD-1)
	c.jump(wait)
	c.place(child)
	c.op(opSet, num(0)).next = heldAddr + contextSize
}

// compileForked makes the program of a process that a fork server clones: what a command has of its own. null opens
// /dev/null, and report is the host program's end of it.
func (l *Launch) compileForked(p *Program, null func() (int, error), report func() (int, bool, error)) error {
	if err := l.check(); err != nil {
		return err
	}
	p.moved = true
	own := *l
	own.Seccomp, own.Init = nil, false // it has the server's
	c := &compiler{Program: p, l: &own, user: l.userMode()}
	c.standardFiles(once(null))
	c.inline = len(c.files)
	c.report = c.file("report", report)
	c.op(opSet, c.report).outAt = contextAddr + contextFD
	c.call("write", unix.SYS_WRITE, c.report, c.str("s"), num(1)).about("report") // the message says who writes it
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NAME, prctlNames), c.setUpName(), num(0), num(0), num(0))
	c.call("setsid", unix.SYS_SETSID) // only now: until the host program knows it, it can be found by its group
	c.call("umask", unix.SYS_UMASK, octal(0))
	c.terminal()
	c.closeDescriptors()
	c.workingDirectory()
	c.execute()
	return nil
}
