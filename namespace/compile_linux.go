package namespace

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// A compiler turns a Launch into a Program. It opens nothing: what the host program has to open is listed in the
// Program's files.
type compiler struct {
	*Program
	l *Launch

	report arg // the descriptor for errors
	root   arg // the root's mount
	empty  arg // the template's empty folder, for masks
	dev    arg // the mount of type dev
	kernel []kernelMount
	late   []lateMount
}

// A kernelMount is a mount of proc or sysfs, below which paths are masked.
type kernelMount struct {
	target string
	fd     arg
}

// A lateMount becomes read-only when all mounts are made.
type lateMount struct {
	target string
	flags  MountFlags
	fd     arg
}

// Program returns the program that Start would run. Nothing is opened or changed. The errors are those of a Launch that
// cannot be: they name the field.
func (l *Launch) Program() (*Program, error) {
	p := newProgram()
	return p, l.compile(p)
}

func (l *Launch) compile(p *Program) error {
	if err := l.validate(); err != nil {
		return err
	}
	c := &compiler{Program: p, l: l}
	c.descriptors()
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_DUMPABLE, prctlNames), num(0), num(0), num(0), num(0))
	c.call("umask", unix.SYS_UMASK, octal(0))
	c.oomScore()
	c.cgroups()
	c.join()
	c.call("setsid", unix.SYS_SETSID)
	if l.Root != nil {
		c.enterRoot()
		for i := range l.Mounts {
			c.mount(&l.Mounts[i])
		}
		c.readOnlyLate()
		c.sysctls()
		c.hideKernelPaths()
	}
	c.terminal()
	c.hostname()
	c.loopback()
	c.readOnlyRoot()
	c.closeDescriptors()
	c.workingDirectory()
	c.rlimits()
	c.signals()
	c.credentials()
	c.gate()
	c.execute()
	return nil
}

// descriptors lists those that the process starts with: stdio and ExtraFiles, then those that the steps use, of which
// the report is the first.
func (c *compiler) descriptors() {
	for i, f := range []*os.File{c.l.Stdin, c.l.Stdout, c.l.Stderr} {
		name := [...]string{"stdin", "stdout", "stderr"}[i]
		if f == nil || c.l.TTY {
			c.file(os.DevNull, openDevNull)
			continue
		}
		c.file(name, useBlocking(f))
	}
	for i, f := range c.l.ExtraFiles {
		c.file(fmt.Sprintf("extra %d", i), useBlocking(f))
	}
	c.inline = len(c.files)
	c.report = c.file("report", nil) // Start fills it in
	if c.l.Gate != nil {
		c.file("gate", useBlocking(c.l.Gate))
	}
}

// useBlocking takes a file of the caller's in blocking mode, as os/exec does: what reads it is no Go program.
func useBlocking(f *os.File) func() (int, bool, error) {
	return func() (int, bool, error) {
		if int(f.Fd()) < 0 {
			return -1, false, os.ErrClosed
		}
		fd, err := duplicate(f)
		return fd, true, err
	}
}

// useFile takes a file that may be closed while the process starts.
func useFile(f *os.File) func() (int, bool, error) {
	return func() (int, bool, error) {
		fd, err := duplicate(f)
		return fd, true, err
	}
}

// openDevNull opens /dev/null through a read-only mount of its own: one may write to the device, but whoever is root in
// a container must not change the mode or owner of the host's node.
func openDevNull() (int, bool, error) {
	var tree int
	var err error
	if kernel.MountSetattr.Err() == nil {
		tree, err = unix.OpenTree(unix.AT_FDCWD, os.DevNull, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err == nil {
			defer unix.Close(tree)
			err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}
		if err != nil {
			return -1, false, err
		}
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", tree), unix.O_RDWR|unix.O_CLOEXEC, 0)
		return fd, true, err
	}
	// Before Linux 5.12, a node of our own on a file system of its own.
	if tree, err = nodeMount(); err != nil {
		return -1, false, err
	}
	defer unix.Close(tree)
	if err := unix.Mknodat(tree, "null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		return -1, false, err
	}
	fd, err := unix.Openat(tree, "null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	return fd, true, err
}

// nodeMount makes a detached tmpfs for a device node.
func nodeMount() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
}

func (c *compiler) oomScore() {
	if c.l.OOMScoreAdj == nil {
		return
	}
	v := fmt.Sprint(*c.l.OOMScoreAdj)
	fd := c.variable("oom", 8)
	p := "/proc/self/oom_score_adj"
	c.openat(num(atCWD), p, unix.O_WRONLY).to(fd)
	c.call("write", unix.SYS_WRITE, fd, c.str(v), num(len(v))).about(p)
	c.close(fd)
}

func (c *compiler) cgroups() {
	for _, f := range c.l.CgroupTasks {
		c.call("write", unix.SYS_WRITE, c.file(f.Name(), useFile(f)), c.str("0"), num(1)).about(f.Name())
	}
}

// join enters the namespaces that exist. The PID namespace is not among them: it holds for children only, so Start does it.
func (c *compiler) join() {
	n := &c.l.Namespaces
	for _, x := range []struct {
		name string
		ns   Namespace
		flag uint64
	}{
		{"network", n.Network, unix.CLONE_NEWNET}, {"ipc", n.IPC, unix.CLONE_NEWIPC}, {"uts", n.UTS, unix.CLONE_NEWUTS},
		{"cgroup", n.Cgroup, unix.CLONE_NEWCGROUP}, {"mount", n.Mount, unix.CLONE_NEWNS},
	} {
		if x.ns.Join != nil {
			fd := c.file(x.name+" namespace", useFile(x.ns.Join))
			c.call("setns", unix.SYS_SETNS, fd, flags(x.flag, cloneNames)).about(x.name + " namespace")
		}
	}
	if l := c.l; l.Root == nil && n.Cgroup.isNew() {
		c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWCGROUP, cloneNames))
	}
}

// enterRoot makes the mount namespace, a copy of the template, and puts the root into it.
func (c *compiler) enterRoot() {
	c.root = c.file(c.l.Root.String(), c.l.Root.take)
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
	c.call("mount", unix.SYS_MOUNT, null, c.str("/"), null, flags(unix.MS_REC|unix.MS_PRIVATE, mountNames), null).
		about("/ private")
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

func (c *compiler) hostname() {
	if n := c.l.Hostname; n != "" {
		c.call("sethostname", unix.SYS_SETHOSTNAME, c.str(n), num(len(n))).about(n)
	}
	if n := c.l.Domainname; n != "" {
		c.call("setdomainname", unix.SYS_SETDOMAINNAME, c.str(n), num(len(n))).about(n)
	}
}

// loopback sets lo up in a new network namespace.
func (c *compiler) loopback() {
	if !c.l.Namespaces.Network.isNew() {
		return
	}
	var req [40]byte // struct ifreq
	copy(req[:], "lo")
	binary.NativeEndian.PutUint16(req[16:], unix.IFF_UP)
	s := c.variable("sock", 8)
	c.call("socket", unix.SYS_SOCKET, num(unix.AF_UNIX), num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), num(0)).to(s)
	c.call("ioctl", unix.SYS_IOCTL, s, flags(unix.SIOCSIFFLAGS, ioctlNames), c.bytes(req[:], "{lo, IFF_UP}")).about("lo")
	c.close(s)
}

// sysctls are written through the container's own proc, before it becomes read-only.
func (c *compiler) sysctls() {
	for _, s := range c.l.Sysctls {
		name := s.Name
		if !strings.Contains(name, "/") {
			name = strings.ReplaceAll(name, ".", "/")
		}
		proc := c.kernelAt("/proc")
		fd := c.variable("sysctl", 8)
		c.openat(proc.fd, "sys/"+name, unix.O_WRONLY).to(fd).about("/proc/sys/" + name)
		c.call("write", unix.SYS_WRITE, fd, c.str(s.Value), num(len(s.Value))).about("/proc/sys/" + name)
		c.close(fd)
	}
}

// closeDescriptors closes all but those that the command gets; the report closes when the command is executed.
func (c *compiler) closeDescriptors() {
	last := c.inline
	c.call("fcntl", unix.SYS_FCNTL, c.report, num(unix.F_SETFD), flags(1, closeOnExec))
	if c.l.Gate != nil {
		last++
		c.call("fcntl", unix.SYS_FCNTL, arg{kind: argFD, v: uint64(last)}, num(unix.F_SETFD), flags(1, closeOnExec))
	}
	c.call("close_range", unix.SYS_CLOSE_RANGE, num(last+1), arg{kind: argHex, v: 1<<32 - 1}, num(0))
}

// workingDirectory enters Dir and makes sure that it is inside the root: with descriptors of the host still open, a path
// below /proc/self/fd would not be.
func (c *compiler) workingDirectory() {
	dir := c.l.Dir
	if dir == "" {
		dir = "/"
	}
	c.call("chdir", unix.SYS_CHDIR, c.str(dir)).about(dir)
	buf := c.variable("cwd", 4096)
	c.call("getcwd", unix.SYS_GETCWD, buf.addr(), num(4096)).about(dir)
	c.op(opTest, buf, arg{kind: argHex, v: '/', text: "'/'"}, arg{kind: argHex, v: firstByte}).about(dir).name = "check working directory"
}

func (c *compiler) rlimits() {
	for _, r := range c.l.Rlimits {
		name := RlimitName(r.Resource)
		lim := c.words(fmt.Sprintf("{%s, %s}", rlimitValue(r.Soft), rlimitValue(r.Hard)), r.Soft, r.Hard)
		c.call("prlimit64", unix.SYS_PRLIMIT64, num(0), arg{kind: argInt, v: uint64(r.Resource), text: name}, lim, null).
			about(name)
	}
}

func rlimitValue(v uint64) string {
	if v == RlimitInfinity {
		return "RLIM64_INFINITY"
	}
	return fmt.Sprint(v)
}

// signals gives every signal its default action and unblocks it: what the host program ignores would be ignored by the
// command.
func (c *compiler) signals() {
	const last = 64
	sig := c.variable("sig", 8)
	loop, end := c.label(), c.label()
	c.op(opSet, num(1)).to(sig)
	c.place(loop)
	c.call("rt_sigaction", unix.SYS_RT_SIGACTION, sig, c.words("SIG_DFL", 0, 0, 0, 0), null, num(8))
	c.ignore(errnoSet(int(unix.EINVAL))) // SIGKILL and SIGSTOP
	c.op(opAdd, sig, num(1)).to(sig)
	c.op(opTest, sig, num(last+1), all).goTo(end).orElse(loop, anyError)
	c.place(end)
	c.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, arg{kind: argInt, v: unix.SIG_SETMASK, text: "SIG_SETMASK"},
		c.words("[]", 0), null, num(8))
}

func (c *compiler) gate() {
	if c.l.Gate == nil {
		return
	}
	fd := arg{kind: argFD, v: uint64(c.inline + 1)}
	n, retry, open, ended := c.variable("n", 8), c.label(), c.label(), c.label()
	c.place(retry)
	c.call("read", unix.SYS_READ, fd, c.variable("byte", 8).addr(), num(1)).to(n).about("gate").
		orElse(retry, errnoSet(int(unix.EINTR)))
	c.op(opTest, n, num(1), all).goTo(open).orElse(ended, anyError)
	c.place(ended)
	c.op(opFail, num(int(unix.ECANCELED))).about("gate").name = "read"
	c.place(open)
}

// execute tries the places where the command may be, as execvp(3) does.
func (c *compiler) execute() {
	umask := uint32(0o22)
	if c.l.Umask != nil {
		umask = uint32(*c.l.Umask)
	}
	c.call("umask", unix.SYS_UMASK, octal(umask))
	argv, envp := c.strings(c.l.Args), c.strings(c.l.Env)
	c.call("write", unix.SYS_WRITE, c.report, c.str("r"), num(1)).about("report")
	if !c.l.NewPrivileges {
		c.seccomp()
	}
	name, search := c.command()
	if search == nil {
		c.call("execve", unix.SYS_EXECVE, c.str(name), argv, envp).about(name)
		return
	}
	// The error is ENOENT, or EACCES if there was a file that we may not execute.
	result := c.variable("result", 8)
	c.op(opSet, num(int(unix.ENOENT))).to(result)
	for _, dir := range search {
		denied, next := c.label(), c.label()
		p := path.Join(dir, name)
		c.call("execve", unix.SYS_EXECVE, c.str(p), argv, envp).about(p).
			orElse(denied, errnoSet(int(unix.ENOENT), int(unix.ENOTDIR), int(unix.EACCES)))
		c.place(denied)
		c.op(opTest, arg{kind: argErrno}, arg{kind: argInt, v: uint64(unix.EACCES), text: "EACCES"}, all).orElse(next, anyError)
		c.op(opSet, arg{kind: argErrno}).to(result)
		c.place(next)
	}
	c.op(opFail, result).about(name).name = "execve"
}

// command returns the executable's path, or its name and the folders to look it up in.
func (c *compiler) command() (name string, search []string) {
	if c.l.Path != "" {
		return c.l.Path, nil
	}
	name = c.l.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	list := DefaultPath
	for _, e := range c.l.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	for _, dir := range strings.Split(list, ":") {
		if dir == "" {
			dir = "."
		}
		search = append(search, dir)
	}
	return name, search
}

func (c *compiler) strings(list []string) arg {
	a := make([]arg, 0, len(list)+1)
	for _, s := range list {
		a = append(a, c.str(s))
	}
	p := c.pointers("", append(a, null)...)
	p.kind, p.list = argStrings, list
	return p
}

func (c *compiler) openat(dir arg, name string, fl int) *step {
	return c.call("openat", unix.SYS_OPENAT, dir, c.str(name), flags(uint64(fl|unix.O_CLOEXEC), openNames), octal(0)).
		about(name)
}

func (c *compiler) close(fd arg) { c.call("close", unix.SYS_CLOSE, fd) }

// moveMount attaches a detached mount at a path below dir, or at dir itself if name is empty.
func (c *compiler) moveMount(m, dir arg, name string) *step {
	fl := uint64(unix.MOVE_MOUNT_F_EMPTY_PATH)
	if name == "" {
		fl |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return c.call("move_mount", unix.SYS_MOVE_MOUNT, m, c.str(""), dir, c.str(name), flags(fl, moveMountNames))
}
