package namespace

import (
	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// recursive are the flags by which a call that takes a descriptor holds for the mounts below it too.
func (m *Mount) recursive() uint64 {
	if m.Recursive {
		return unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	}
	return unix.AT_EMPTY_PATH
}

// remount does by a path what mount_setattr does by a descriptor, for kernels without it, and for one mount only: a
// recursive bind with flags was refused if there are mounts below its source. All flags are replaced.
func (c *compiler) remount(target string, fl MountFlags, propagation uint64) {
	c.call("mount", unix.SYS_MOUNT, null, c.str(target), null, flags(unix.MS_REC|propagation, mountNames), null).
		about(target)
	ms := uint64(unix.MS_REMOUNT | unix.MS_BIND)
	for _, x := range mountFlags {
		if fl&x.flag != 0 {
			ms |= x.ms
		}
	}
	c.call("mount", unix.SYS_MOUNT, null, c.str(target), null, flags(ms, mountNames), null).about(target)
}

func (c *compiler) setattr(fd arg, fl uint64, a unix.MountAttr) *step {
	attr := c.words("", a.Attr_set, a.Attr_clr, a.Propagation, 0)
	attr.kind = argMountAttr
	return c.call("mount_setattr", unix.SYS_MOUNT_SETATTR, fd, c.str(""), flags(fl, openTreeNames), attr, num(32))
}

func (c *compiler) propagate(fd arg, kind uint64, target string) {
	if kernel.MountSetattr.Err() == nil {
		c.setattr(fd, unix.AT_EMPTY_PATH, unix.MountAttr{Propagation: kind}).about(target)
		return
	}
	c.call("mount", unix.SYS_MOUNT, null, c.str(target), null, flags(kind, mountNames), null).about(target)
}

// flag is the propagation as mount(2) has it. A clone of a shared mount is its peer: slave and shared keep the tie to
// the host, so it is never made private first.
func (p Propagation) flag() uint64 {
	switch p {
	case Slave:
		return unix.MS_SLAVE
	case Shared:
		return unix.MS_SHARED
	case Unbindable:
		return unix.MS_UNBINDABLE
	}
	return unix.MS_PRIVATE
}

// mountFlags are the flags as fsmount(2) and mount_setattr(2), and as mount(2) take them.
var mountFlags = []struct {
	flag     MountFlags
	attr, ms uint64
}{
	{ReadOnly, unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY}, {NoSuid, unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
	{NoDev, unix.MOUNT_ATTR_NODEV, unix.MS_NODEV}, {NoExec, unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
	{NoAtime, unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME}, {StrictAtime, unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME},
	{RelAtime, unix.MOUNT_ATTR_RELATIME, unix.MS_RELATIME},
	{NoSymfollow, unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MS_NOSYMFOLLOW},
	{NoDirAtime, unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
}

// change is what mount_setattr(2) takes to set and clear flags. The kinds of access times are one value, not bits.
func change(set, clear MountFlags) unix.MountAttr {
	a := unix.MountAttr{Attr_set: set.attr(), Attr_clr: (clear &^ atimes).attr()}
	if (set|clear)&atimes != 0 {
		a.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	return a
}

func (f MountFlags) attr() (a uint64) {
	for _, x := range mountFlags {
		if f&x.flag != 0 {
			a |= x.attr
		}
	}
	return a
}
