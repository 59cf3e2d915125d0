package namespace

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// RemoveAll is os.RemoveAll, but for an ordinary user's program it also removes what in the folder belongs to the user's
// subordinate ids: a container's files. It follows no link.
func RemoveAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) || privileged() {
		return err
	}
	d, derr := NewDeputy(context.Background(), nil, nil)
	if derr != nil {
		return errors.Join(err, derr)
	}
	defer d.Close()
	if e := d.takeFolders(unix.AT_FDCWD, path); e != nil && !errors.Is(e, unix.ENOENT) {
		return errors.Join(err, e)
	}
	return os.RemoveAll(path)
}

// takeFolders makes a folder, and those below it, the program's own, and open to it: then it can remove what is in them.
func (d *Deputy) takeFolders(dir int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	var at any = dir
	if dir != unix.AT_FDCWD {
		at = Descriptor(dir)
	}
	if int(st.Uid) != unix.Geteuid() {
		if _, err := d.Call(unix.SYS_FCHOWNAT, at, name, 0, 0, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "chown", Path: name, Err: err}
		}
	}
	const open = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err := openat(dir, name, open)
	if errors.Is(err, unix.EACCES) {
		if err := unix.Fchmodat(dir, name, 0o700, 0); err != nil {
			return &os.PathError{Op: "chmod", Path: name, Err: err}
		}
		fd, err = openat(dir, name, open)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if st.Mode&0o700 != 0o700 {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return &os.PathError{Op: "chmod", Path: name, Err: err}
		}
	}
	for {
		names, err := f.ReadDir(256)
		for _, e := range names {
			if !e.IsDir() {
				continue
			}
			if err := d.takeFolders(fd, e.Name()); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
