package namespace

import "golang.org/x/sys/unix"

// initProcess makes a child that goes on to execute the command. The process itself stays as the first one of its PID
// namespace: it passes on signals, reaps whatever ends, and ends as the command does.
func (c *compiler) initProcess() {
	if !c.l.Init {
		return
	}
	pid, child := c.variable("command", 8), c.label()
	every := c.words("~[]", ^uint64(0))
	mask := func(set arg) {
		c.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, arg{kind: argInt, v: unix.SIG_SETMASK, text: "SIG_SETMASK"}, set, null, num(8))
	}
	mask(every) // no signal gets lost in between
	c.call("clone", unix.SYS_CLONE, arg{kind: argInt, v: uint64(unix.SIGCHLD), text: "SIGCHLD"}, null, null, null, null).to(pid).
		about("init")
	c.if0(pid, child)
	c.reap(pid, every)

	// A process group of its own: what is typed at a terminal signals the command once, not init as well.
	c.place(child)
	c.call("setpgid", unix.SYS_SETPGID, num(0), num(0)).about("init")
	if c.l.TTY {
		c.call("getpid", unix.SYS_GETPID).to(pid)
		c.call("ioctl", unix.SYS_IOCTL, num(0), flags(unix.TIOCSPGRP, ioctlNames), pid.addr()).about("init")
	}
	mask(c.words("[]", 0))
}

// reap is what init does for the rest of its life.
func (c *compiler) reap(pid, every arg) {
	signal, ended, status := c.variable("signal", 8), c.variable("ended", 8), c.variable("status", 16)
	loop, forward, next, whole := c.label(), c.label(), c.label(), c.label()
	c.call("close_range", unix.SYS_CLOSE_RANGE, num(0), arg{kind: argHex, v: 1<<32 - 1}, num(0))
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NAME, prctlNames), c.str("init"), num(0), num(0), num(0))
	c.place(loop)
	c.call("rt_sigtimedwait", unix.SYS_RT_SIGTIMEDWAIT, every, null, null, num(8)).to(signal).orElse(loop, anyError)
	c.is(signal, arg{kind: argInt, v: uint64(unix.SIGCHLD), text: "SIGCHLD"}, all, forward)
	c.place(next)
	c.call("wait4", unix.SYS_WAIT4, num(-1), status.addr(), num(unix.WNOHANG), null).to(ended).orElse(loop, anyError)
	c.if0(ended, loop)
	c.is(ended, pid, all, next)

	// The status of wait(2): the signal and whether it dumped core are in the lowest byte, the exit code is in the one
	// above. Of exit_group's argument the lowest byte counts.
	killed, dumped := c.label(), c.label()
	c.is(status, num(0), arg{kind: argHex, v: 0x7f}, killed)
	c.call("exit_group", unix.SYS_EXIT_GROUP, status.at(1))
	c.place(killed) // 128 and the signal; the bit of the core dump has that value
	c.op(opTest, status, num(0), arg{kind: argHex, v: 0x80}).goTo(whole).orElse(dumped, anyError)
	c.place(dumped)
	c.call("exit_group", unix.SYS_EXIT_GROUP, status)
	c.place(whole)
	c.op(opAdd, status, num(128)).to(status)
	c.call("exit_group", unix.SYS_EXIT_GROUP, status)

	c.place(forward)
	c.call("kill", unix.SYS_KILL, pid, signal).goTo(loop).orElse(loop, anyError)
}
