package namespace

import (
	"strings"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// kernelAt finds the mount of proc or sysfs that p lies below.
func (c *compiler) kernelAt(p string) (best kernelMount) {
	for _, k := range c.kernel {
		if p == k.target || strings.HasPrefix(p, k.target+"/") {
			best = k
		}
	}
	return best
}

// hideKernelPaths masks paths and makes others read-only, by descriptors of our own fresh mounts, so that nothing in the
// image can turn one elsewhere.
func (c *compiler) hideKernelPaths() {
	for _, p := range c.l.ReadOnlyPaths {
		k := c.kernelAt(p)
		if k.target == "" {
			c.readOnlyPath(p)
			continue
		}
		rel := strings.TrimPrefix(p, k.target+"/")
		fd, skip := c.variable("ro", 8), c.label()
		fl := uint64(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE)
		c.call("open_tree", unix.SYS_OPEN_TREE, k.fd, c.str(rel), flags(fl, openTreeNames)).to(fd).about(p).
			orElse(skip, errnoSet(int(unix.ENOENT)))
		const strict = ReadOnly | NoSuid | NoDev | NoExec
		if kernel.MountSetattr.Err() == nil {
			c.setattr(fd, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MountAttr{Attr_set: strict.attr()}).about(p)
			c.moveMount(fd, k.fd, rel).about(p)
		} else {
			c.moveMount(fd, k.fd, rel).about(p)
			c.remount(p, strict, unix.MS_PRIVATE)
		}
		c.close(fd)
		c.place(skip)
	}
	if len(c.l.MaskedPaths) > 0 {
		st := c.variable("statx", 256)
		mode := st.at(statxMode)
		for _, p := range c.l.MaskedPaths {
			c.mask(p, st, mode)
		}
	}
}

// mask covers a folder with the template's empty one and anything else with the null device. Which of them it takes is
// asked first: a clone that fits nowhere costs a grace period of the kernel's when it is closed.
func (c *compiler) mask(p string, st, mode arg) {
	k := c.kernelAt(p)
	rel := strings.TrimPrefix(p, k.target+"/")
	at, cover := c.variable("at", 8), c.variable("cover", 8)
	folder, other, have, skip := c.label(), c.label(), c.label(), c.label()
	if k.target != "" {
		c.openat(k.fd, rel, unix.O_PATH|unix.O_NOFOLLOW).to(at).about(p).orElse(skip, errnoSet(int(unix.ENOENT)))
	} else {
		c.openInRoot(p).to(at).orElse(skip, absent)
	}
	c.call("statx", unix.SYS_STATX, at, c.str(""), flags(unix.AT_EMPTY_PATH, openTreeNames),
		flags(unix.STATX_TYPE, statxNames), st.addr()).about(p)
	c.op(opTest, mode, arg{kind: argHex, v: unix.S_IFDIR, text: "S_IFDIR"},
		arg{kind: argHex, v: unix.S_IFMT, text: "S_IFMT"}).goTo(folder).orElse(other, anyError)
	clone := func(what arg, about string) *step {
		return c.call("open_tree", unix.SYS_OPEN_TREE, what, c.str(""),
			flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, openTreeNames)).to(cover).about(about)
	}
	c.place(folder)
	clone(c.empty, p).goTo(have)
	c.place(other)
	clone(c.null, "/dev/null")
	c.place(have)
	c.moveMount(cover, at, "").about(p)
	c.close(cover)
	c.close(at)
	c.place(skip)
}

// absent says that there is nothing at a path.
var absent = errnoSet(int(unix.ENOENT), int(unix.ENOTDIR))

// openInRoot opens a path inside the root, symbolic links followed.
func (c *compiler) openInRoot(p string) *step {
	return c.openat2(p, unix.O_PATH, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// readOnlyPath makes a path that is not the kernel's read-only. What it names is opened once: the clone goes on top of it.
func (c *compiler) readOnlyPath(p string) {
	at, fd, skip := c.variable("at", 8), c.variable("ro", 8), c.label()
	c.openInRoot(p).to(at).orElse(skip, absent)
	fl := uint64(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE | unix.AT_EMPTY_PATH)
	c.call("open_tree", unix.SYS_OPEN_TREE, at, c.str(""), flags(fl, openTreeNames)).to(fd).about(p)
	if kernel.MountSetattr.Err() == nil {
		c.setattr(fd, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MountAttr{Attr_set: ReadOnly.attr()}).about(p)
		c.moveMount(fd, at, "").about(p)
	} else {
		c.moveMount(fd, at, "").about(p)
		// A folder is reached by no name that could be turned elsewhere; a file has only its path.
		fl := uint64(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
		isFile, done := c.label(), c.label()
		c.call("fchdir", unix.SYS_FCHDIR, fd).about(p).orElse(isFile, errnoSet(int(unix.ENOTDIR)))
		c.call("mount", unix.SYS_MOUNT, null, c.str("."), null, flags(fl, mountNames), null).about(p)
		c.call("fchdir", unix.SYS_FCHDIR, c.root).about(p).goTo(done)
		c.place(isFile)
		c.call("mount", unix.SYS_MOUNT, null, c.str(p), null, flags(fl, mountNames), null).about(p)
		c.place(done)
	}
	c.close(fd)
	c.close(at)
	c.place(skip)
}
