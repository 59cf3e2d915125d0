package namespace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// maxTurns bounds how often the stub looks whether its listener was taken: a minute or so.
const maxTurns = 1 << 31

func (c *compiler) seccomp() {
	l := c.l
	if len(l.Seccomp) == 0 {
		return
	}
	n := len(l.Seccomp) / 8
	filter := c.bytes(l.Seccomp, "")
	prog := c.pointers(fmt.Sprintf("{%d instructions}", n), num(n), filter)
	fl := flags(uint64(l.SeccompFlags), seccompNames)
	if l.SeccompNotify != nil && c.user.own {
		// Whoever made the user namespace may take the listener, unless the process belongs to who is above all of those.
		c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_DUMPABLE, prctlNames), num(1), num(0), num(0), num(0))
	}
	load := c.call("seccomp", unix.SYS_SECCOMP, arg{kind: argInt, v: unix.SECCOMP_SET_MODE_FILTER, text: "SECCOMP_SET_MODE_FILTER"},
		fl, prog).about(fmt.Sprintf("%d instructions", n))
	if l.SeccompNotify != nil {
		c.handOver(load)
	}
}

// handedMark tells the stub's memory from that of this program, which the process has a copy of until it executes the stub.
const handedMark = 0x6c697374656e6572

// handOver waits until the host program has taken the listener. No system call may be made meanwhile: the filter may say
// NOTIFY to any of them, and then nobody is there to answer. So the descriptor's number is left in memory, from where
// the host program takes it, and where it leaves its word.
func (c *compiler) handOver(load *step) {
	mark, listener := c.variable("mark", 8), c.variable("listener", 8) // read as one
	taken, turns := c.variable("taken", 8), c.variable("turns", 8)
	load.to(listener)
	c.handed = &[2]arg{mark.addr(), taken.addr()}
	c.op(opSet, arg{kind: argInt, v: handedMark, text: "mark"}).to(mark)
	loop, look, expired, done := c.label(), c.label(), c.label(), c.label()
	c.place(loop)
	c.op(opAdd, turns, num(1)).to(turns)
	c.op(opTest, turns, num(maxTurns), all).goTo(expired).orElse(look, anyError)
	c.place(look)
	c.op(opTest, taken, num(1), all).goTo(done).orElse(loop, anyError)
	c.place(expired)
	c.op(opFail, num(int(unix.ETIMEDOUT))).about(listenerName).name = "hand over"
	c.place(done)
}
