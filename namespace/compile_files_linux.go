package namespace

import (
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

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
	if !privileged() {
		// The host's own: whoever may change it as an ordinary user may do so anyway.
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return fd, true, err
	}
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
