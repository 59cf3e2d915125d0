package namespace

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// In a user namespace the stub is the host program's child for a moment only. Go's StartProcess would fork plainly for
// CLONE_NEWUSER, and whoever is in a user namespace cannot make a namespace that the host program's clone has made its
// own. So the stub, with the host's credentials still, joins what is the host's to give, enters the template, makes or
// joins the user namespace, waits for the host program to write its maps, and makes the other namespaces there. A new PID
// namespace takes one more process, made as the host program's child too (CLONE_PARENT), which does the rest.
//
// The host program and the stub talk over a socket, a message each: the stub says that it wants its maps, the host that
// they are written; the stub sends the new process's pidfd, the host lets that go on. Each ends when the other does.

// A userMode says how a process gets into its user namespace.
type userMode struct {
	own      bool // there is a user namespace, new or joined
	rootless bool // the host program may not do what takes CAP_SYS_ADMIN
	pivot    bool // the root is entered by pivot_root: in a user namespace that is not the first one, or for host
	host     bool // the process keeps the host's mounts until it enters the root
	bound    bool // device nodes are bound, since none can be made
	clone    bool // one more process is made
	sync     arg  // the socket
	timens   arg  // /proc/self/timens_offsets
}

func (l *Launch) userMode() userMode {
	m := userMode{own: l.newUser() || l.Namespaces.User.Join != nil, rootless: l.rootless || !l.privileged && !privileged()}
	m.bound = m.own || !firstUserNamespace()
	m.host = l.BeforeRoot != nil
	m.pivot = l.Root != nil && (m.bound || m.host)
	m.clone = m.own && l.keeper == nil && (l.Namespaces.PID.isNew() || m.rootless && l.Namespaces.PID.Join != nil)
	return m
}

// privileged says whether the program has CAP_SYS_ADMIN in its user namespace.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[0].Effective>>unix.CAP_SYS_ADMIN&1 != 0
}

// firstUserNamespace says whether the program is in the machine's first user namespace: elsewhere device nodes cannot be
// made, and proc only where one is in sight. A program of several threads cannot change it.
var firstUserNamespace = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
})

// enterUser makes or joins the user namespace, and makes the others in it. A keeper has joined it already, and has made those
// that it can make for its child.
func (c *compiler) enterUser() {
	if c.l.keeper == nil {
		c.joinUser()
	}
	c.newTime()
	c.makeNamespaces()
}

// joinUser makes or joins the user namespace.
func (c *compiler) joinUser() {
	n, m := &c.l.Namespaces, &c.user
	if m.clone || c.l.newUser() {
		m.sync = c.file("user namespace's maps", nil) // Start fills it in
		c.sync = int(m.sync.v)
	}
	if !m.rootless {
		c.call("setgroups", unix.SYS_SETGROUPS, num(0), null)
		if !firstUserNamespace() { // which may have been made so that nobody in it leaves a group
			c.ignore(errnoSet(int(unix.EPERM)))
		}
		c.join()
		if m.pivot && !m.host {
			c.enterUserTemplate()
		}
	}
	if c.l.newUser() {
		c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
		c.send(c.str("m"), 1)
		c.await("user namespace's maps")
	} else {
		fd := c.file("user namespace", useFile(n.User.Join))
		c.notDumpable() // there may be processes in it
		c.call("setns", unix.SYS_SETNS, fd, flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	}
	c.call("setresgid", unix.SYS_SETRESGID, num(0), num(0), num(0)).about("root of the user namespace")
	c.call("setresuid", unix.SYS_SETRESUID, num(0), num(0), num(0)).about("root of the user namespace")
	c.notDumpable()
	if m.rootless {
		c.join()
		if n.PID.Join != nil && c.l.keeper == nil {
			fd := c.file("pid namespace", useFile(n.PID.Join))
			c.call("setns", unix.SYS_SETNS, fd, flags(unix.CLONE_NEWPID, cloneNames)).about("pid namespace")
		}
	}
}

// makeNamespaces makes what the user namespace shall own.
func (c *compiler) makeNamespaces() {
	n, m := &c.l.Namespaces, &c.user
	var fresh uint64
	for _, x := range []struct {
		ns     Namespace
		flag   uint64
		keeper bool // makes it
	}{
		{n.UTS, unix.CLONE_NEWUTS, true}, {n.IPC, unix.CLONE_NEWIPC, true}, {n.Network, unix.CLONE_NEWNET, true},
		{n.PID, unix.CLONE_NEWPID, true}, {n.Cgroup, unix.CLONE_NEWCGROUP, false},
	} {
		if x.ns.isNew() && !(x.keeper && c.l.keeper != nil) {
			fresh |= x.flag
		}
	}
	if c.l.Root != nil && n.Mount.isNew() {
		fresh |= unix.CLONE_NEWNS
	}
	switch {
	case m.clone:
		c.cloneOn(fresh)
	case fresh != 0:
		c.call("unshare", unix.SYS_UNSHARE, flags(fresh, cloneNames))
	}
}

// cloneOn goes on in a new process, and sends the host program its pidfd.
func (c *compiler) cloneOn(fresh uint64) {
	pid, pidfd, child := c.variable("pid", 8), c.variable("pidfd", 8), c.label()
	fl := fresh | unix.CLONE_PARENT | unix.CLONE_PIDFD | uint64(unix.SIGCHLD)
	c.call("clone", unix.SYS_CLONE, flags(fl, cloneNames), null, pidfd.addr(), null, null).to(pid)
	parent := c.label()
	c.op(opTest, pid, num(0), all).goTo(child).orElse(parent, anyError)
	c.place(parent)
	c.sendDescriptor(c.user.sync, pidfd)
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
	c.place(child)
	c.await("the host program")
	c.call("setsid", unix.SYS_SETSID)
}

// send sends the host program a message; await waits for one of it, which is missing when it has given up.
func (c *compiler) send(b arg, n int) {
	c.call("sendto", unix.SYS_SENDTO, c.user.sync, b, num(n), flags(unix.MSG_NOSIGNAL, messageNames), null, num(0)).
		about("the host program")
}

func (c *compiler) await(what string) {
	n, again, ended, goOn := c.variable("n", 8), c.label(), c.label(), c.label()
	c.place(again)
	c.call("recvfrom", unix.SYS_RECVFROM, c.user.sync, c.variable("byte", 8).addr(), num(1), num(0), null, null).to(n).
		about(what).orElse(again, errnoSet(int(unix.EINTR)))
	c.op(opTest, n, num(1), all).goTo(goOn).orElse(ended, anyError)
	c.place(ended)
	c.op(opFail, num(int(unix.ECANCELED))).about(what).name = "wait"
	c.place(goOn)
}

// mayKeepGroups lets setgroups fail, as it does in a user namespace that an ordinary user has made without newgidmap(1), if
// no group is asked for: then the process keeps those that this user is in, and cannot name them. (Root's program has left its
// groups before it joins one.)
func (c *compiler) mayKeepGroups() {
	asked := slices.ContainsFunc(c.l.User.Groups, func(g uint32) bool { return g != c.l.User.GID })
	if !asked && (c.user.own && c.user.rootless || c.l.Namespaces.User.Join != nil || !firstUserNamespace()) {
		c.ignore(errnoSet(int(unix.EPERM)))
	}
}

// own gives the process's user the standard files that it shall have.
func (c *compiler) ownFiles() {
	for fd, f := range []*os.File{c.l.Stdin, c.l.Stdout, c.l.Stderr} {
		if f != nil && slices.Contains(c.l.Own, f) {
			c.call("fchown", unix.SYS_FCHOWN, num(fd), num(int(c.l.User.UID)), num(int(c.l.User.GID))).about(f.Name())
			// A file of somebody who has no id in the user namespace, or on a file system that is read-only, stays his.
			c.ignore(errnoSet(int(unix.EPERM), int(unix.EINVAL), int(unix.EROFS)))
		}
	}
}

// notDumpable keeps the container's own processes from tracing the stub.
func (c *compiler) notDumpable() {
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_DUMPABLE, prctlNames), num(0), num(0), num(0), num(0))
}

// openTime opens the file for the clocks' offsets while it can be: it belongs to who started the stub.
func (c *compiler) openTime() {
	if c.l.TimeOffsets == nil {
		return
	}
	c.user.timens = c.variable("offsets", 8)
	c.openat(num(atCWD), "/proc/self/timens_offsets", unix.O_WRONLY).to(c.user.timens)
}

// newTime makes the time namespace and enters it.
func (c *compiler) newTime() {
	t := c.l.TimeOffsets
	if t == nil {
		return
	}
	c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWTIME, cloneNames)).about("time namespace")
	text := fmt.Sprintf("monotonic %s\nboottime %s\n", secondsOf(t.Monotonic), secondsOf(t.Boottime))
	c.call("write", unix.SYS_WRITE, c.user.timens, c.str(text), num(len(text))).about("TimeOffsets")
	c.close(c.user.timens)
	fd := c.variable("time", 8)
	c.openat(num(atCWD), "/proc/self/ns/time_for_children", unix.O_RDONLY).to(fd)
	c.call("setns", unix.SYS_SETNS, fd, flags(unix.CLONE_NEWTIME, cloneNames)).about("time namespace")
	c.close(fd)
}

// secondsOf is a duration as seconds, which may be negative, and nanoseconds, which may not.
func secondsOf(d time.Duration) string {
	sec, nsec := d/time.Second, d%time.Second
	if nsec < 0 {
		sec, nsec = sec-1, nsec+time.Second
	}
	return fmt.Sprintf("%d %d", sec, nsec)
}

// enterUserTemplate goes where nothing is but a proc and a sysfs, which those of the container take as a model.
func (c *compiler) enterUserTemplate() {
	tmpl := c.file("template", func() (int, bool, error) {
		fd, err := userTemplateNamespace()
		return fd, false, err
	})
	c.call("setns", unix.SYS_SETNS, tmpl, flags(unix.CLONE_NEWNS, cloneNames)).about("template namespace")
}

// enterRootByPivot puts the root over the old one, to which leaveOldRoot then holds on no more. Until then paths lead to the
// old root: proc and sysfs can be mounted only where others are in sight.
func (c *compiler) enterRootByPivot() {
	name := c.l.Root.String()
	if !c.user.own {
		if !c.user.host {
			c.enterUserTemplate()
		}
		fresh := uint64(0)
		if c.l.Namespaces.Mount.isNew() {
			fresh |= unix.CLONE_NEWNS
		}
		if c.l.Namespaces.Cgroup.isNew() {
			fresh |= unix.CLONE_NEWCGROUP
		}
		if fresh != 0 {
			c.call("unshare", unix.SYS_UNSHARE, flags(fresh, cloneNames))
		}
	}
	place, propagation := "/", Private
	if c.user.host {
		place, propagation = c.l.rootPlace(), Slave
	}
	if c.l.RootAt != "" {
		place = "." // see enterRootPlace
	}
	if c.l.Namespaces.Mount.isNew() {
		c.call("mount", unix.SYS_MOUNT, null, c.str("/"), null, flags(unix.MS_REC|propagation.flag(), mountNames), null).
			about("/ private")
	}
	c.root = c.openRoot()
	if len(c.l.MaskedPaths) > 0 {
		c.empty = c.fileSystem("tmpfs", "empty", "mode=555,nr_inodes=2,nr_blocks=1", ReadOnly|NoSuid|NoDev|NoExec)
		// Before Linux 6.15 only what is attached can be cloned. It covers the old root, and goes with it; or lies below the
		// new one.
		c.moveMount(c.empty, num(atCWD), place).about("empty folder")
	}
	first := Private
	if c.l.RootPropagation == Slave {
		first = Slave
	}
	c.setattr(c.root, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MountAttr{Propagation: first.flag()}).about(name)
	c.moveMount(c.root, num(atCWD), place).about(name)
}

// enterRootPlace enters RootAt while the process is in the host's mount namespace: in the copy that it makes of that it is at the same
// place then, wherever its path leads and whoever may walk it.
func (c *compiler) enterRootPlace() {
	at := c.l.RootAt
	if at == "" {
		return
	}
	fd := c.file("place of the root", func() (int, bool, error) {
		fd, err := openat(unix.AT_FDCWD, at, unix.O_PATH|unix.O_DIRECTORY)
		return fd, true, err
	})
	c.call("fchdir", unix.SYS_FCHDIR, fd).about(at)
}

// openRoot is the root's mount: made by the host program if it may, otherwise here.
func (c *compiler) openRoot() arg {
	r := c.l.Root
	if !c.user.rootless || !c.user.pivot || r.mount != nil {
		f := c.file(r.String(), r.take)
		c.idmap(f, c.l.RootIDMap, true)
		return f
	}
	return c.openTree(r.path, true)
}

// openTree clones what is at a path of the host, in the copy of its mounts.
func (c *compiler) openTree(path string, recursive bool) arg {
	fl := uint64(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		fl |= unix.AT_RECURSIVE
	}
	fd := c.variable("tree", 8)
	c.call("open_tree", unix.SYS_OPEN_TREE, num(atCWD), c.str(path), flags(fl, openTreeNames)).to(fd).about(path)
	return fd
}

// leaveOldRoot makes the root that of the namespace and forgets what was before.
func (c *compiler) leaveOldRoot() {
	const what = "old root"
	c.call("fchdir", unix.SYS_FCHDIR, c.root).about(c.l.Root.String())
	if c.l.Namespaces.Mount.Host {
		c.call("chroot", unix.SYS_CHROOT, c.str(".")).about(c.l.Root.String())
		return
	}
	c.call("pivot_root", unix.SYS_PIVOT_ROOT, c.str("."), c.str(".")).about(c.l.Root.String())
	if len(c.l.MaskedPaths) > 0 && !c.user.host { // the empty folder first, which covers it
		c.call("umount2", unix.SYS_UMOUNT2, c.str("."), flags(unix.MNT_DETACH, umountNames)).about("empty folder")
	}
	c.call("umount2", unix.SYS_UMOUNT2, c.str("."), flags(unix.MNT_DETACH, umountNames)).about(what)
}

// owns says whether namespaces of a kind belong to the process's user namespace, as its kernel file systems take.
func (c *compiler) owns(n Namespace) bool {
	return !c.user.own || n.isNew() || n.Join != nil && c.l.Namespaces.User.Join != nil
}

// borrowed returns the host's own mount of a file system that can be mounted only by whoever owns a namespace, which the
// process shares with the host: the one at the path.
func (c *compiler) borrowed(typ string) (path string) {
	n := &c.l.Namespaces
	switch {
	case typ == "proc" && !c.owns(n.PID):
		return "/proc"
	case typ == "sysfs" && !c.owns(n.Network):
		return "/sys"
	}
	return ""
}

// bindNode binds the host's device, since no node can be made. It is bound read-only: one may write to the device, but
// not change its node.
func (c *compiler) bindNode(dev arg, d Device, about string) {
	source := d.Source
	if source == "" {
		source = "/dev/" + d.Path
	}
	var fd arg
	if c.user.rootless {
		fd = c.openTree(source, false)
		c.checkNode(fd, d, source)
	} else {
		fd = c.file(source, func() (int, bool, error) { return openNode(source, d) })
	}
	c.setattr(fd, unix.AT_EMPTY_PATH, unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_PRIVATE,
	}).about(source)
	c.call("mknodat", unix.SYS_MKNODAT, dev, c.str(d.Path), octal(unix.S_IFREG|0o666), num(0)).about(about)
	c.ignore(errnoSet(int(unix.EEXIST)))
	c.moveMount(fd, dev, d.Path).about(about)
	c.close(fd)
}

// openNode clones the mount of a device node of the host, and makes sure that it is that device.
func openNode(source string, d Device) (int, bool, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, false, err
	}
	kind := uint32(unix.S_IFCHR)
	if d.Block {
		kind = unix.S_IFBLK
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT != kind || st.Rdev != unix.Mkdev(d.Major, d.Minor)) {
		err = fmt.Errorf("it is not the device %d:%d: %w", d.Major, d.Minor, ErrNotDevice)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, false, err
	}
	return fd, true, nil
}

// checkNode makes sure of the same in the process.
func (c *compiler) checkNode(fd arg, d Device, source string) {
	st := c.variable("statx", 256)
	c.call("statx", unix.SYS_STATX, fd, c.str(""), flags(unix.AT_EMPTY_PATH, openTreeNames), flags(unix.STATX_TYPE, statxNames), st.addr()).
		about(source)
	kind := uint64(unix.S_IFCHR)
	if d.Block {
		kind = unix.S_IFBLK
	}
	hex := func(v uint64, text string) arg { return arg{kind: argHex, v: v, text: text} }
	test := func(v, want, mask arg) {
		fail, next := c.label(), c.label()
		c.op(opTest, v, want, mask).goTo(next).orElse(fail, anyError)
		c.place(fail)
		c.op(opFail, num(int(unix.ENODEV))).about(source).name = "check device"
		c.place(next)
	}
	test(st.at(statxMode), hex(kind, "device"), hex(unix.S_IFMT, "S_IFMT"))
	var number [8]byte
	binary.NativeEndian.PutUint32(number[:], d.Major)
	binary.NativeEndian.PutUint32(number[4:], d.Minor)
	test(st.at(statxDevice), hex(binary.NativeEndian.Uint64(number[:]), fmt.Sprintf("{%d, %d}", d.Major, d.Minor)), all)
}
