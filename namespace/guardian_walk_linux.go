package namespace

import "golang.org/x/sys/unix"

// The guardian walks through groups with a descriptor for each level, whose position is where it goes on. The numbers
// are fixed; deeper down than they reach, it sees only the first group of a level at a time and comes again for the others.
const (
	guardianWalk  = 16
	guardianDepth = 64
)

// Parts of struct linux_dirent64, seen as 64-bit words.
const (
	direntOffset = 8  // d_off
	direntHead   = 16 // d_reclen, two bytes; d_type; d_name from here on
	direntName   = 19
	direntSize   = direntName + 256
	direntFolder = unix.DT_DIR << 16
)

// walk goes through the groups below the folder, which the container's processes have made: it removes those that are
// empty, and kills and thaws what is in the others, so that they can be removed on the way back or when it comes again.
// They may go as deep as who made them liked.
func (g *guardianCompiler) walk(path arg) {
	dir, below, fd := g.variable("dir", 8), g.variable("below", 8), g.variable("fd", 8)
	pos, back := g.variable("position", 8), g.variable("back", 8) // back: we come from the entry that is read next
	entry := g.variable("entry", direntSize)
	name := entry.at(direntName).addr()
	read, enter, leave, end := g.label(), g.label(), g.label(), g.label()
	const fl = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	g.call("openat", unix.SYS_OPENAT, num(atCWD), path, num(fl), num(0)).to(fd).orElse(end, anyError)
	g.op(opSet, num(guardianWalk)).to(dir)
	g.op(opSet, num(0)).to(back)
	g.call("dup3", unix.SYS_DUP3, fd, dir, num(unix.O_CLOEXEC))
	g.call("close", unix.SYS_CLOSE, fd)

	// One entry at a time: the next call begins behind it, whatever has become of it by then.
	g.place(read)
	n := g.variable("n", 8)
	g.call("lseek", unix.SYS_LSEEK, dir, num(0), num(unix.SEEK_CUR)).to(pos).orElse(leave, anyError)
	g.call("getdents64", unix.SYS_GETDENTS64, dir, entry.addr(), num(direntSize)).to(n).orElse(leave, anyError)
	g.if0(n, leave)
	g.call("lseek", unix.SYS_LSEEK, dir, entry.at(direntOffset), num(unix.SEEK_SET)).orElse(leave, anyError)
	g.is(entry.at(direntHead), num(direntFolder), arg{kind: argHex, v: 0xff << 16}, read)
	for _, dots := range []struct{ value, mask uint64 }{{'.' << 24, 0xffff << 24}, {'.'<<24 | '.'<<32, 0xffffff << 24}} {
		other := g.label()
		g.op(opTest, entry.at(direntHead), arg{kind: argHex, v: dots.value}, arg{kind: argHex, v: dots.mask}).goTo(read).
			orElse(other, anyError)
		g.place(other)
	}
	busy, again := g.label(), g.label()
	g.call("unlinkat", unix.SYS_UNLINKAT, dir, name, num(unix.AT_REMOVEDIR)).orElse(busy, anyError)
	g.op(opSet, num(0)).to(back).goTo(read)
	g.place(busy)
	g.is(back, num(1), all, enter)
	g.place(again)
	g.op(opSet, num(0)).to(back).goTo(read)

	g.place(enter)
	g.call("openat", unix.SYS_OPENAT, dir, name, num(fl), num(0)).to(below).orElse(again, anyError)
	g.call("lseek", unix.SYS_LSEEK, dir, pos, num(unix.SEEK_SET))
	g.ignore(anyError)
	deep := g.label()
	g.is(dir, num(guardianWalk+guardianDepth-1), all, deep)
	g.op(opAdd, dir, num(-1)).to(dir)
	g.place(deep)
	g.op(opAdd, dir, num(1)).to(dir)
	g.call("dup3", unix.SYS_DUP3, below, dir, num(unix.O_CLOEXEC))
	g.call("close", unix.SYS_CLOSE, below)
	thaw := g.label()
	g.call("openat", unix.SYS_OPENAT, dir, g.str("cgroup.procs"), num(unix.O_RDONLY|unix.O_CLOEXEC), num(0)).to(fd).
		orElse(thaw, anyError)
	g.killListed(fd)
	g.call("close", unix.SYS_CLOSE, fd)
	g.place(thaw)
	g.thaw(dir, g.str("freezer.state"), fd)
	g.jump(read)

	g.place(leave)
	up := g.label()
	g.call("close", unix.SYS_CLOSE, dir)
	g.is(dir, num(guardianWalk), all, up)
	g.jump(end)
	g.place(up)
	g.op(opAdd, dir, num(-1)).to(dir)
	g.op(opSet, num(1)).to(back)
	g.jump(read)
	g.place(end)
}
