package namespace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var errNoPart = fmt.Errorf("a part of a detached mount can be attached by Linux 6.15 and newer only: %w", errors.ErrUnsupported)

// Stat describes what a bind attaches: Source or Root, and Subpath below it.
func (m *Mount) Stat() (os.FileInfo, error) {
	f, err := m.openSource()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

func (m *Mount) statfs(st *unix.Statfs_t) error {
	f, err := m.openSource()
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fstatfs(int(f.Fd()), st)
}

// openSource opens the place that a bind attaches.
func (m *Mount) openSource() (*os.File, error) {
	f, err := m.openBase()
	if err != nil || m.Subpath == "" {
		return f, err
	}
	defer f.Close()
	fd, err := openInRoot(int(f.Fd()), m.Subpath, unix.O_PATH)
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", m.Subpath, m.sourceName(), err)
	}
	return os.NewFile(uintptr(fd), m.Subpath), nil
}

func (m *Mount) openBase() (*os.File, error) {
	if m.Root != nil {
		return m.Root.open()
	}
	fd, err := openat(unix.AT_FDCWD, m.Source, unix.O_PATH)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: m.Source, Err: err}
	}
	return os.NewFile(uintptr(fd), m.Source), nil
}

func (m *Mount) sourceName() string {
	if m.Root != nil {
		return m.Root.String()
	}
	return m.Source
}

// cloneSource returns a mount of what a bind attaches, in no mount namespace yet.
func (m *Mount) cloneSource() (int, error) {
	fl := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if m.Recursive {
		fl |= unix.AT_RECURSIVE
	}
	if m.Root == nil && m.Subpath == "" {
		return unix.OpenTree(unix.AT_FDCWD, m.Source, fl)
	}
	f, err := m.openSource()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if m.Root.isDetached() && m.Subpath == "" {
		return duplicate(f) // it is such a mount itself
	}
	fd, err := unix.OpenTree(int(f.Fd()), "", fl|unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) && m.Root.isDetached() {
		return -1, fmt.Errorf("attach %s of %s: %w", m.Subpath, m.Root, errNoPart)
	}
	return fd, err
}

func (r *Root) isDetached() bool { return r != nil && r.mount != nil }
