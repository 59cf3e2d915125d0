package namespace

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve opens a mount's target inside the root, and makes it if it is missing. The targets of the kernel's own file
// systems are reached by no symbolic link at all, lest masks land elsewhere.
func (c *compiler) resolve(m *Mount, target string) arg {
	how := uint64(unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS)
	if m.Type == "proc" || m.Type == "sysfs" || m.Type == "dev" {
		how |= unix.RESOLVE_NO_SYMLINKS
	}
	isFile := false
	if m.Type == "bind" {
		if st, err := m.Stat(); err == nil {
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
	return c.call("openat2", unix.SYS_OPENAT2, c.root, c.str(name), c.openHow(fl, resolve), num(24)).about(name)
}

// openHow is the address of a struct open_how.
func (c *compiler) openHow(fl int, resolve uint64) arg {
	how := c.words("", uint64(fl|unix.O_CLOEXEC), 0, resolve)
	how.kind = argOpenHow
	return how
}
