package namespace

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// descriptors lists those that the process starts with: stdio and ExtraFiles, then those that the steps use, of which
// the report is the first.
func (c *compiler) descriptors() {
	c.standardFiles(once(openNull))
	c.inline = len(c.files)
	c.report = c.file("report", nil) // Start fills it in
	if c.l.Gate != nil {
		c.file("gate", useBlocking(c.l.Gate))
	}
}

// standardFiles lists stdio and ExtraFiles; null opens /dev/null.
func (c *compiler) standardFiles(null func() (int, bool, error)) {
	for i, f := range []*os.File{c.l.Stdin, c.l.Stdout, c.l.Stderr} {
		name := [...]string{"stdin", "stdout", "stderr"}[i]
		if f == nil || c.l.TTY {
			c.file(os.DevNull, null)
			continue
		}
		c.file(name, useBlocking(f))
	}
	for i, f := range c.l.ExtraFiles {
		c.file(fmt.Sprintf("extra %d", i), useBlocking(f))
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
