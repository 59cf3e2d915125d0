package namespace

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

func (c *compiler) mount(m *Mount) {
	var fd arg
	target := path.Clean(m.Target)
	switch m.Type {
	case "bind":
		fd = c.bind(m)
	case "dev":
		fd = c.fileSystem("tmpfs", sourceOf(m, "dev"), "mode=755,size=65536k", m.Flags|NoSuid|StrictAtime)
	case "tmpfs":
		// It is empty: what is mounted below it needs its folders, so it becomes read-only last.
		fd = c.fileSystem(m.Type, sourceOf(m, m.Type), m.Data, m.Flags&^ReadOnly)
		if m.Flags&ReadOnly != 0 {
			c.late = append(c.late, lateMount{target, m.Flags, fd})
		}
	default:
		fd = c.fileSystem(m.Type, sourceOf(m, m.Type), m.Data, m.Flags)
	}
	at := c.resolve(m, target)
	c.moveMount(fd, at, "").about(target)
	c.close(at)
	if m.Type == "bind" && kernel.MountSetattr.Err() != nil {
		c.remount(target, m.Flags, m.Propagation.flag())
	}
	switch {
	case m.Type == "dev":
		c.dev = fd
		c.devices(m, fd)
	case m.Type == "proc" || m.Type == "sysfs":
		c.kernel = append(c.kernel, kernelMount{target, fd})
	}
	if m.Type != "bind" && m.Propagation != Private { // a bind has it already
		c.propagate(fd, m.Propagation.flag(), target)
	}
}

func sourceOf(m *Mount, other string) string {
	if m.Source != "" {
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
	config(unix.FSCONFIG_CMD_CREATE, null, null)
	c.call("fsmount", unix.SYS_FSMOUNT, fs, flags(unix.FSMOUNT_CLOEXEC, closeOnExec), flags(fl.attr(), mountAttrNames)).
		to(fd).about(typ)
	c.close(fs)
	return fd
}

// bind clones a file or folder of the host; the host program opens it, since the host's mounts are out of reach here.
func (c *compiler) bind(m *Mount) arg {
	fd := c.file(m.Source, func() (int, bool, error) {
		if err := kernel.MountSetattr.Err(); err != nil && m.Recursive && m.Flags != 0 && hasMountsBelow(m.Source) {
			return -1, false, fmt.Errorf("flags for the mounts below it: %w", err)
		}
		fl := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
		if m.Recursive {
			fl |= unix.AT_RECURSIVE
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, fl)
		return fd, true, err
	})
	attr := unix.MountAttr{Attr_set: m.Flags.attr(), Propagation: m.Propagation.flag()}
	if m.Flags&(NoAtime|StrictAtime) != 0 {
		attr.Attr_clr = unix.MOUNT_ATTR__ATIME
	}
	if kernel.MountSetattr.Err() == nil {
		c.setattr(fd, m.recursive(), attr).about(m.Source)
	}
	return fd
}

// recursive are the flags by which a call that takes a descriptor holds for the mounts below it too.
func (m *Mount) recursive() uint64 {
	if m.Recursive {
		return unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	}
	return unix.AT_EMPTY_PATH
}

// readOnlyLate makes mounts read-only below which others had to be made.
func (c *compiler) readOnlyLate() {
	for _, m := range c.late {
		if kernel.MountSetattr.Err() == nil {
			c.setattr(m.fd, unix.AT_EMPTY_PATH, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}).about(m.target)
		} else {
			c.remount(m.target, m.flags, unix.MS_PRIVATE)
		}
	}
}

// remount does by a path what mount_setattr does by a descriptor, for kernels without it, and for one mount only: a
// recursive bind with flags was refused if there are mounts below its source.
func (c *compiler) remount(target string, fl MountFlags, propagation uint64) {
	c.call("mount", unix.SYS_MOUNT, null, c.str(target), null, flags(unix.MS_REC|propagation, mountNames), null).
		about(target)
	if fl == 0 {
		return
	}
	ms := uint64(unix.MS_REMOUNT | unix.MS_BIND)
	for _, x := range mountFlags {
		if fl&x.flag != 0 {
			ms |= x.ms
		}
	}
	c.call("mount", unix.SYS_MOUNT, null, c.str(target), null, flags(ms, mountNames), null).about(target)
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

func (c *compiler) setattr(fd arg, fl uint64, a unix.MountAttr) *step {
	var b [32]byte
	le := binary.NativeEndian
	le.PutUint64(b[0:], a.Attr_set)
	le.PutUint64(b[8:], a.Attr_clr)
	le.PutUint64(b[16:], a.Propagation)
	var text []string
	if a.Attr_set != 0 {
		text = append(text, "set="+mountAttrNames.format(a.Attr_set))
	}
	if a.Attr_clr != 0 {
		text = append(text, "clear="+fmt.Sprintf("%#x", a.Attr_clr))
	}
	if a.Propagation != 0 {
		text = append(text, "propagation="+mountNames.format(a.Propagation))
	}
	return c.call("mount_setattr", unix.SYS_MOUNT_SETATTR, fd, c.str(""), flags(fl, openTreeNames),
		c.bytes(b[:], "{"+strings.Join(text, ", ")+"}"), num(len(b)))
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

// resolve opens a mount's target inside the root, and makes it if it is missing. The targets of the kernel's own file
// systems are reached by no symbolic link at all, lest masks land elsewhere.
func (c *compiler) resolve(m *Mount, target string) arg {
	how := uint64(unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS)
	if m.Type == "proc" || m.Type == "sysfs" || m.Type == "dev" {
		how |= unix.RESOLVE_NO_SYMLINKS
	}
	isFile := false
	if m.Type == "bind" {
		if st, err := os.Stat(m.Source); err == nil {
			isFile = !st.IsDir()
		}
	}
	at := c.variable("at", 8)
	retry, missing, found := c.label(), c.label(), c.label()
	fl := unix.O_PATH
	if !isFile {
		fl |= unix.O_DIRECTORY
	}
	c.place(retry)
	failed := c.label()
	c.openat2(target, fl, how).to(at).goTo(found).orElse(failed, errnoSet(int(unix.ENOENT), int(unix.EAGAIN)))
	c.place(failed)
	// EAGAIN: something was renamed while the kernel followed a "..".
	c.op(opTest, arg{kind: argErrno}, arg{kind: argInt, v: uint64(unix.EAGAIN), text: "EAGAIN"}, all).goTo(retry).
		orElse(missing, anyError)
	c.place(missing)
	parts := strings.Split(target[1:], "/")
	for i, name := range parts {
		parent := c.root
		if i > 0 {
			parent = c.variable("parent", 8)
			again := c.label()
			c.place(again)
			c.openat2("/"+path.Join(parts[:i]...), unix.O_PATH|unix.O_DIRECTORY, how).to(parent).
				orElse(again, errnoSet(int(unix.EAGAIN)))
		}
		if i == len(parts)-1 && isFile {
			c.call("mknodat", unix.SYS_MKNODAT, parent, c.str(name), octal(unix.S_IFREG|0o644), num(0)).about(target)
		} else {
			c.call("mkdirat", unix.SYS_MKDIRAT, parent, c.str(name), octal(0o755)).about(target)
		}
		c.ignore(errnoSet(int(unix.EEXIST)))
		if i > 0 {
			c.close(parent)
		}
	}
	again := c.label()
	c.place(again)
	c.openat2(target, fl, how).to(at).orElse(again, errnoSet(int(unix.EAGAIN)))
	c.place(found)
	return at
}

// openat2 opens a path inside the root.
func (c *compiler) openat2(name string, fl int, resolve uint64) *step {
	fl |= unix.O_CLOEXEC
	text := "{" + openNames.format(uint64(fl)) + ", " + resolveNames.format(resolve) + "}"
	return c.call("openat2", unix.SYS_OPENAT2, c.root, c.str(name), c.words(text, uint64(fl), 0, resolve), num(24)).about(name)
}

// standardNodes are the devices of every container, those of the OCI runtime specification, "Default Devices".
var standardNodes = []Device{
	{Path: "null", Major: 1, Minor: 3}, {Path: "zero", Major: 1, Minor: 5}, {Path: "full", Major: 1, Minor: 7},
	{Path: "random", Major: 1, Minor: 8}, {Path: "urandom", Major: 1, Minor: 9}, {Path: "tty", Major: 5, Minor: 0},
}

// devices fills the container's /dev.
func (c *compiler) devices(m *Mount, dev arg) {
	mkdir := func(name string, mode uint32) *step {
		return c.call("mkdirat", unix.SYS_MKDIRAT, dev, c.str(name), octal(mode)).about("/dev/" + name)
	}
	for _, d := range []string{"pts", "shm", "mqueue"} {
		mkdir(d, 0o755)
	}
	shm := "mode=1777,size=65536k"
	if m.Data != "" {
		shm = "mode=1777," + m.Data
	}
	const strict = NoSuid | NoDev | NoExec
	for _, s := range []struct {
		name, typ, data string
		flags           MountFlags
	}{
		{"pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", NoSuid | NoExec},
		{"shm", "tmpfs", shm, strict},
		{"mqueue", "mqueue", "", strict},
	} {
		source := s.typ
		if s.name == "shm" {
			source = "shm"
		}
		fd := c.fileSystem(s.typ, source, s.data, s.flags)
		c.moveMount(fd, dev, s.name).about("/dev/" + s.name)
		c.close(fd)
	}
	made := map[string]bool{}
	for _, d := range append(standardNodes[:len(standardNodes):len(standardNodes)], m.Nodes...) {
		for i := range d.Path {
			if d.Path[i] == '/' && !made[d.Path[:i]] {
				made[d.Path[:i]] = true
				mkdir(d.Path[:i], 0o755)
				c.ignore(errnoSet(int(unix.EEXIST)))
			}
		}
		c.node(dev, d)
	}
	for _, l := range [][2]string{
		{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"}, {"ptmx", "pts/ptmx"},
	} {
		c.call("symlinkat", unix.SYS_SYMLINKAT, c.str(l[1]), dev, c.str(l[0])).about("/dev/" + l[0])
	}
}

func (c *compiler) node(dev arg, d Device) {
	mode := uint32(d.Mode.Perm())
	if d.Mode == 0 {
		mode = 0o666
	}
	kind := uint32(unix.S_IFCHR)
	if d.Block {
		kind = unix.S_IFBLK
	}
	number := arg{kind: argInt, v: unix.Mkdev(d.Major, d.Minor), text: fmt.Sprintf("makedev(%d, %d)", d.Major, d.Minor)}
	c.call("mknodat", unix.SYS_MKNODAT, dev, c.str(d.Path), octal(kind|mode), number).about("/dev/" + d.Path)
	if d.UID != 0 || d.GID != 0 {
		c.call("fchownat", unix.SYS_FCHOWNAT, dev, c.str(d.Path), num(int(d.UID)), num(int(d.GID)), num(0)).
			about("/dev/" + d.Path)
	}
}

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
}

func (f MountFlags) attr() (a uint64) {
	for _, x := range mountFlags {
		if f&x.flag != 0 {
			a |= x.attr
		}
	}
	return a
}
