package namespace

import (
	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// enterRoot makes the mount namespace, a copy of the template, and puts the root into it.
func (c *compiler) enterRoot() {
	c.root = c.openRoot()
	tmpl := c.file("template", func() (int, bool, error) {
		fd, err := templateNamespace()
		return fd, false, err
	})
	c.call("setns", unix.SYS_SETNS, tmpl, flags(unix.CLONE_NEWNS, cloneNames)).about("template namespace")
	unshare := uint64(unix.CLONE_NEWNS)
	if c.l.Namespaces.Cgroup.isNew() {
		unshare |= unix.CLONE_NEWCGROUP
	}
	c.call("unshare", unix.SYS_UNSHARE, flags(unshare, cloneNames))
	if len(c.l.MaskedPaths) > 0 {
		c.empty = c.variable("empty", 8)
		c.openat(num(atCWD), "/", unix.O_PATH|unix.O_DIRECTORY).to(c.empty)
	}
	c.moveMount(c.root, num(atCWD), "/").about(c.l.Root.String())
	c.call("fchdir", unix.SYS_FCHDIR, c.root).about(c.l.Root.String())
	c.call("chroot", unix.SYS_CHROOT, c.str("."))
	// A clone of a shared mount is its peer: what is mounted from here on would appear on the host.
	first := Private
	if c.l.RootPropagation == Slave {
		first = Slave
	}
	c.call("mount", unix.SYS_MOUNT, null, c.str("/"), null, flags(unix.MS_REC|first.flag(), mountNames), null).
		about("/ private")
}

// propagateRoot comes after all mounts: what is mounted below a shared mount is shared itself.
func (c *compiler) propagateRoot() {
	if p := c.l.RootPropagation; p == Shared || p == Unbindable {
		c.call("mount", unix.SYS_MOUNT, null, c.str("/"), null, flags(p.flag(), mountNames), null).about("/ propagation")
	}
}

func (c *compiler) readOnlyRoot() {
	if !c.l.ReadOnlyRoot || c.l.Root == nil {
		return
	}
	if kernel.MountSetattr.Err() == nil {
		c.setattr(c.root, unix.AT_EMPTY_PATH, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}).about("/ read-only")
	} else {
		fl := uint64(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
		c.call("mount", unix.SYS_MOUNT, null, c.str("/"), null, flags(fl, mountNames), null).about("/ read-only")
	}
}
