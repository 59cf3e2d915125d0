package namespace

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// terminal makes a pseudo-terminal of the container's own devpts, takes one end as controlling terminal and standard
// input, output and error, and sends the other end to the host program.
func (c *compiler) terminal() {
	if !c.l.TTY {
		return
	}
	const what = "terminal"
	sock := c.file(what, nil) // Start fills it in
	if c.dev.kind == argNone {
		c.dev = c.variable("dev", 8)
		c.openat(num(atCWD), "/dev", unix.O_PATH|unix.O_DIRECTORY).to(c.dev)
	}
	ptmx, pts, zero := c.variable("ptmx", 8), c.variable("pts", 8), c.words("[0]", 0)
	c.openat(c.dev, "pts/ptmx", unix.O_RDWR|unix.O_NOCTTY).to(ptmx).about(what)
	ioctl := func(fd arg, op uint64, a arg) *step {
		return c.call("ioctl", unix.SYS_IOCTL, fd, flags(op, ioctlNames), a).about(what)
	}
	ioctl(ptmx, unix.TIOCSPTLCK, zero)
	ioctl(ptmx, unix.TIOCGPTPEER, flags(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, openNames)).to(pts)
	if s := c.l.TTYSize; s != (WinSize{}) {
		var b [8]byte
		for i, v := range []uint16{s.Rows, s.Cols, s.X, s.Y} {
			binary.NativeEndian.PutUint16(b[2*i:], v)
		}
		ioctl(ptmx, unix.TIOCSWINSZ, c.bytes(b[:], fmt.Sprintf("{%d rows, %d columns}", s.Rows, s.Cols)))
	}
	for fd := range 3 {
		c.call("dup3", unix.SYS_DUP3, pts, num(fd), num(0)).about(what)
	}
	ioctl(num(0), unix.TIOCSCTTY, num(0))
	if uid := c.l.User.UID; uid != 0 {
		c.call("fchown", unix.SYS_FCHOWN, num(0), num(int(uid)), num(-1)).about(what)
	}
	if c.l.Root != nil {
		// The first terminal of a new devpts is number 0.
		console := c.variable("console", 8)
		c.call("mknodat", unix.SYS_MKNODAT, c.dev, c.str("console"), octal(unix.S_IFREG|0o600), num(0)).about("/dev/console")
		c.ignore(errnoSet(int(unix.EEXIST)))
		c.call("open_tree", unix.SYS_OPEN_TREE, c.dev, c.str("pts/0"),
			flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, openTreeNames)).to(console).about("/dev/pts/0")
		c.moveMount(console, c.dev, "console").about("/dev/console")
		c.close(console)
	}
	c.sendDescriptor(sock, ptmx)
	c.close(ptmx)
	c.close(pts)
}

// sendDescriptor sends fd over a socket: unix(7), SCM_RIGHTS.
func (c *compiler) sendDescriptor(sock, fd arg) {
	control := c.variable("control", 24)
	word := func(v uint64) arg { return arg{kind: argHex, v: v} }
	c.op(opSet, word(20)).to(control)                                        // cmsg_len
	c.op(opSet, word(unix.SOL_SOCKET|unix.SCM_RIGHTS<<32)).to(control.at(8)) // cmsg_level, cmsg_type
	c.op(opSet, fd).to(control.at(16))
	iov := c.pointers("", c.str("t"), num(1))
	msg := c.pointers("{SCM_RIGHTS, [$"+fd.text+"]}", num(0), num(0), iov, num(1), control.addr(), num(24), num(0))
	c.call("sendmsg", unix.SYS_SENDMSG, sock, msg, num(0)).about("terminal")
}
