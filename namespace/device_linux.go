package namespace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotDevice is returned by DeviceAt for a file that is not a device node.
var ErrNotDevice = errors.New("not a device node")

// DeviceAt returns the device of the node at path on the host: its kind, number, mode and owner. Symbolic links are
// followed. Path of the result is empty.
func DeviceAt(path string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Device{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return Device{}, fmt.Errorf("%s: %w", path, ErrNotDevice)
	}
	return Device{
		Block: kind == unix.S_IFBLK,
		Major: unix.Major(st.Rdev),
		Minor: unix.Minor(st.Rdev),
		Mode:  os.FileMode(st.Mode & 0o777),
		UID:   st.Uid,
		GID:   st.Gid,

		Source: path,
	}, nil
}

// Resize sets the size of a terminal, of either of its ends: [Process.TTY]. Its foreground processes get SIGWINCH.
func Resize(tty *os.File, size WinSize) error {
	ws := unix.Winsize{Row: size.Rows, Col: size.Cols, Xpixel: size.X, Ypixel: size.Y}
	err := withDescriptor(tty, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &ws) })
	if err != nil {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}
