package namespace

import (
	"strings"

	"golang.org/x/sys/unix"
)

// A mount of proc or sysfs is what masks are made on, and parameters are written through. So no other mount may come to lie
// on it by a symbolic link: of an image's, whose volume is mounted at a place that it chooses, or of another container's
// that shares the volume. A target that says itself that it is below /proc is its caller's will.

// Where statx(2) puts what is asked for. The number of the mount: Linux ≥ 5.8.
const (
	statxMode    = 0x1c
	statxDevice  = 0x80
	statxMountID = 0x90
)

// identify asks for the mount that a descriptor is on.
func (c *compiler) identify(fd arg, target string) arg {
	st := c.variable("mount of "+target, 256)
	c.call("statx", unix.SYS_STATX, fd, c.str(""), flags(unix.AT_EMPTY_PATH, openTreeNames),
		flags(unix.STATX_MNT_ID, statxNames), st.addr()).about(target)
	return st.at(statxMountID)
}

// offKernel fails if the resolved target is on a mount of proc or sysfs above which it was not named.
func (c *compiler) offKernel(m *Mount, at arg, target string) {
	if m.Type == "proc" || m.Type == "sysfs" || m.Type == "dev" {
		return // there is no link on their way
	}
	var others []kernelMount
	for _, k := range c.kernel {
		if target != k.target && !strings.HasPrefix(target, k.target+"/") {
			others = append(others, k)
		}
	}
	if len(others) == 0 {
		return
	}
	id := c.identify(at, target)
	for _, k := range others {
		on, off := c.label(), c.label()
		c.op(opTest, id, k.id, all).goTo(on).orElse(off, anyError)
		c.place(on)
		c.op(opFail, num(int(unix.ELOOP))).about(target + ", which leads into " + k.target).name = "resolve mount target"
		c.place(off)
	}
}

// openKernel opens a file below a mount of proc: nothing that is mounted on it, and no link, leads elsewhere.
func (c *compiler) openKernel(k kernelMount, rel string, fl int) *step {
	const how = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS
	return c.call("openat2", unix.SYS_OPENAT2, k.fd, c.str(rel), c.openHow(fl, how), num(24)).
		about(k.target + "/" + rel)
}
