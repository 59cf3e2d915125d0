package namespace

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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
	c.sayReady()
	if !c.l.NewPrivileges {
		c.seccomp()
	}
	c.parkHere()
	if c.l.waits() {
		c.gate()
	}
	c.initProcess()
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
	p.kind, p.text = argStrings, strconv.Itoa(len(c.lists))
	c.lists = append(c.lists, list)
	return p
}
