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
	for _, p := range c.l.MaskedPaths {
		c.mask(p)
	}
}

func (c *compiler) mask(p string) {
	k := c.kernelAt(p)
	rel := strings.TrimPrefix(p, k.target+"/")
	at, cover := c.variable("at", 8), c.variable("cover", 8)
	folder, done, skip := c.label(), c.label(), c.label()
	clone := uint64(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	c.openat(k.fd, rel, unix.O_PATH|unix.O_NOFOLLOW).to(at).about(p).orElse(skip, errnoSet(int(unix.ENOENT)))
	c.call("open_tree", unix.SYS_OPEN_TREE, c.dev, c.str("null"), flags(clone|unix.AT_SYMLINK_NOFOLLOW, openTreeNames)).
		to(cover).about("/dev/null")
	c.moveMount(cover, at, "").about(p).goTo(done).orElse(folder, errnoSet(int(unix.EINVAL)))
	c.place(folder)
	c.close(cover)
	c.call("open_tree", unix.SYS_OPEN_TREE, c.empty, c.str(""), flags(clone|unix.AT_EMPTY_PATH, openTreeNames)).
		to(cover).about(p)
	c.moveMount(cover, at, "").about(p)
	c.place(done)
	c.close(cover)
	c.close(at)
	c.place(skip)
}
