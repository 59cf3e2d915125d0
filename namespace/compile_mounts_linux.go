package namespace

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

func (c *compiler) mount(i int) {
	var fd arg
	m := &c.l.Mounts[i]
	c.mounting = int32(i) + 1
	target := path.Clean(m.Target)
	switch m.Type {
	case "nodes":
		c.nodes(m, target)
		return
	case "link":
		dir := c.resolve(&Mount{Type: m.Type}, path.Dir(target))
		c.offKernel(m, dir, target)
		c.call("symlinkat", unix.SYS_SYMLINKAT, c.str(m.Source), dir, c.str(path.Base(target))).about(target)
		c.ignore(errnoSet(int(unix.EEXIST)))
		c.close(dir)
		return
	case "bind":
		fd = c.bind(m)
	case "dev":
		fl := m.flags()&^atimes | NoSuid | StrictAtime
		fd = c.fileSystem("tmpfs", sourceOf(m, "dev"), "mode=755,size=65536k", fl&^ReadOnly)
		c.readOnlyLast(fl, target, fd)
	case "tmpfs":
		// It is empty: what is mounted below it needs its folders, so it becomes read-only last.
		if m.CopyUp {
			fd = c.file(target, func() (int, bool, error) { return c.l.copyUp(m, c.givenUp) })
		} else {
			fd = c.fileSystem(m.Type, sourceOf(m, m.Type), m.Data, m.flags()&^ReadOnly)
		}
		c.readOnlyLast(m.flags(), target, fd)
	default:
		if c.cloned(m) {
			fd = c.groups[i]
			c.setattr(fd, unix.AT_EMPTY_PATH, unix.MountAttr{Attr_set: m.flags().attr(), Propagation: unix.MS_PRIVATE}).about(target)
			break
		}
		if host := c.borrowed(m.Type); host != "" {
			fd = c.openTree(host, true)
			c.setattr(fd, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE,
				unix.MountAttr{Attr_set: m.flags().attr(), Propagation: unix.MS_PRIVATE}).about(host)
			break
		}
		fd = c.fileSystem(m.Type, sourceOf(m, m.Type), m.Data, m.flags())
	}
	c.mounted = append(c.mounted, fd)
	if above := c.freshAbove(i); above != nil {
		c.attachBelow(fd, *above, target)
	} else {
		at := c.resolve(m, target)
		c.offKernel(m, at, target)
		c.moveMount(fd, at, "").about(target)
		c.close(at)
	}
	if m.Type == "bind" && kernel.MountSetattr.Err() != nil {
		c.remountBind(m, target)
	}
	switch {
	case m.Type == "dev":
		c.dev = fd
		c.devices(m, fd)
	case m.Type == "proc" || m.Type == "sysfs":
		c.kernel = append(c.kernel, kernelMount{target, fd, c.identify(fd, target)})
	}
	if m.Type != "bind" && m.Propagation != Private { // a bind has it already
		c.propagate(fd, m.Propagation.flag(), target)
	}
}

// flags are those of a mount with nothing below it.
func (m *Mount) flags() MountFlags {
	fl := m.Flags &^ m.TopClear
	if m.TopFlags&atimes != 0 {
		fl &^= atimes
	}
	return fl | m.TopFlags
}

func sourceOf(m *Mount, other string) string {
	if m.Source != "" && !(isCgroup(m) && path.IsAbs(m.Source)) {
		return m.Source
	}
	return other
}

// fileSystem makes a mount of a new or shared instance of a kernel file system, not attached anywhere yet.
func (c *compiler) fileSystem(typ, source, data string, fl MountFlags) arg {
	fs, fd := c.variable("fs", 8), c.variable(path.Base(source), 8)
	c.call("fsopen", unix.SYS_FSOPEN, c.str(typ), flags(unix.FSOPEN_CLOEXEC, closeOnExec)).to(fs).about(typ)
	config := func(cmd uint64, key, value arg) {
		c.call("fsconfig", unix.SYS_FSCONFIG, fs, flags(cmd, fsconfigNames), key, value, num(0)).about(typ)
	}
	config(unix.FSCONFIG_SET_STRING, c.str("source"), c.str(source))
	for _, o := range strings.Split(data, ",") {
		if key, value, ok := strings.Cut(o, "="); ok {
			config(unix.FSCONFIG_SET_STRING, c.str(key), c.str(value))
		} else if o != "" {
			config(unix.FSCONFIG_SET_FLAG, c.str(o), null)
		}
	}
	if s := c.l.label(typ); s != "" {
		config(unix.FSCONFIG_SET_STRING, c.str("context"), c.str(s))
	}
	config(unix.FSCONFIG_CMD_CREATE, null, null)
	c.call("fsmount", unix.SYS_FSMOUNT, fs, flags(unix.FSMOUNT_CLOEXEC, closeOnExec), flags(fl.attr(), mountAttrNames)).
		to(fd).about(typ)
	c.close(fs)
	if typ == "mqueue" && c.l.MountLabel != "" && c.l.Namespaces.IPC.isNew() { // others have a label already, and are others'
		c.labelQueues(fd)
	}
	return fd
}

// labelQueues labels an IPC namespace's message queues, a file system that is there before it is mounted, so that there is no option for
// its label any more. A policy may have none for it.
func (c *compiler) labelQueues(mount arg) {
	fd, why := c.variable("queues", 8), c.variable("why", 8)
	failed, refused, done := c.label(), c.label(), c.label()
	about := "mqueue " + c.l.MountLabel
	c.openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY).to(fd).about("mqueue")
	c.call("fsetxattr", unix.SYS_FSETXATTR, fd, c.str("security.selinux"), c.str(c.l.MountLabel), num(len(c.l.MountLabel)), num(0)).
		goTo(done).orElse(failed, anyError).about(about)
	c.place(failed)
	c.op(opSet, arg{kind: argErrno}).to(why)
	c.op(opTest, why, arg{kind: argInt, v: uint64(unix.EOPNOTSUPP), text: "EOPNOTSUPP"}, all).goTo(done).orElse(refused, anyError)
	c.place(refused)
	c.op(opFail, why).about(about).name = "fsetxattr"
	c.place(done)
	c.close(fd)
}

// bind clones a file or folder of the host; the host program opens it, since the host's mounts are out of reach here.
func (c *compiler) bind(m *Mount) arg {
	fd := c.bindSource(m)
	if kernel.MountSetattr.Err() == nil {
		attr := change(m.Flags, m.Clear)
		attr.Propagation = m.Propagation.flag()
		c.setattr(fd, m.recursive(), attr).about(m.sourceName())
		if m.TopFlags|m.TopClear != 0 {
			c.setattr(fd, unix.AT_EMPTY_PATH, change(m.TopFlags, m.TopClear)).about(m.sourceName())
		}
	}
	return fd
}

func (c *compiler) bindSource(m *Mount) arg {
	if c.user.rootless && c.user.pivot && m.Root == nil && m.Subpath == "" {
		return c.openTree(m.Source, m.Recursive)
	}
	fd := c.file(m.sourceName(), func() (int, bool, error) {
		if err := kernel.MountSetattr.Err(); err != nil && m.Recursive && m.Flags|m.Clear != 0 && hasMountsBelow(m.sourceName()) {
			return -1, false, fmt.Errorf("flags for the mounts below it: %w", err)
		}
		fd, err := m.cloneSource()
		return fd, true, err
	})
	c.idmap(fd, m.IDMap, m.Recursive)
	return fd
}

// remountBind does what bind does, for kernels without mount_setattr. What the source's mount restricts stays, unless it is
// to be cleared.
func (c *compiler) remountBind(m *Mount, target string) {
	var st unix.Statfs_t
	var have MountFlags
	if m.statfs(&st) == nil {
		for _, x := range mountFlags {
			const same = ReadOnly | NoSuid | NoDev | NoExec | NoAtime | NoDirAtime // the flags of statfs(2) that are as MS_ has them
			if x.flag&same != 0 && uint64(st.Flags)&x.ms != 0 {
				have |= x.flag
			}
		}
	}
	apply := func(set, clear MountFlags) {
		if (set|clear)&atimes != 0 {
			clear |= atimes
		}
		have = have&^clear | set
	}
	apply(m.Flags, m.Clear)
	apply(m.TopFlags, m.TopClear)
	if m.Flags|m.Clear|m.TopFlags|m.TopClear == 0 {
		c.call("mount", unix.SYS_MOUNT, null, c.str(target), null, flags(unix.MS_REC|m.Propagation.flag(), mountNames), null).
			about(target)
		return
	}
	c.remount(target, have, m.Propagation.flag())
}

// readOnlyLast notes a mount that becomes read-only when all is made in it, if it is to.
func (c *compiler) readOnlyLast(fl MountFlags, target string, fd arg) {
	if fl&ReadOnly != 0 {
		c.late = append(c.late, lateMount{target, fl, fd, c.mounting})
	}
}

// readOnlyLate makes mounts read-only below which others had to be made.
func (c *compiler) readOnlyLate() {
	defer func() { c.mounting = 0 }()
	for _, m := range c.late {
		c.mounting = m.mount
		if kernel.MountSetattr.Err() == nil {
			c.setattr(m.fd, unix.AT_EMPTY_PATH, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}).about(m.target)
		} else {
			c.remount(m.target, m.flags, unix.MS_PRIVATE)
		}
	}
}

// hasMountsBelow says whether something is mounted below a folder of the host.
func hasMountsBelow(dir string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return true
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], strings.TrimSuffix(dir, "/")+"/") {
			return true
		}
	}
	return false
}
