package cgroups

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Control files are read and written with bare system calls on the descriptor of their directory: they are opened by
// the dozen for each group, and an os.File would cost more than the kernel's own work.

// maxRead bounds what is read of one control file; cgroup.procs of a million processes has 8 MB.
const maxRead = 64 << 20

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func openat(dir int, name string, flags int) (int, error) {
	if dir == dirGone {
		return -1, unix.ENOENT
	}
	return retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
}

func openDir(dir int, name string) (int, error) {
	return openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// readFile returns the content of a control file.
func readFile(dir int, name string) ([]byte, error) {
	fd, err := openat(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 4096)
	for {
		n, err := retry(func() (int, error) { return unix.Read(fd, buf[len(buf):cap(buf)]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return buf, nil
		}
		if buf = buf[:len(buf)+n]; len(buf) == cap(buf) {
			if len(buf) >= maxRead {
				return nil, fmt.Errorf("%s is larger than %d bytes: %w", name, maxRead, unix.EFBIG)
			}
			buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
		}
	}
}

// readShow is readFile for a control file that the kernel shows as one piece, as all are but the lists of processes: a read
// that does not fill the buffer has come to its end.
func readShow(dir int, name string, buf []byte) ([]byte, error) {
	fd, err := openat(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	n, err := retry(func() (int, error) { return unix.Read(fd, buf) })
	_ = unix.Close(fd)
	switch {
	case err != nil:
		return nil, err
	case n == len(buf):
		return readFile(dir, name)
	}
	return buf[:n], nil
}

// writeFile writes a control file in one write, as the kernel demands.
func writeFile(dir int, name, value string) error {
	fd, err := openat(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeValue(fd, value)
}

func writeValue(fd int, value string) error {
	n, err := retry(func() (int, error) { return unix.Write(fd, []byte(value)) })
	if err == nil && n < len(value) {
		err = unix.EIO
	}
	return err
}

// readNumber returns a control file's number; "max" is -1.
func readNumber(dir int, name string) (int64, error) {
	var buf [64]byte
	b, err := readShow(dir, name, buf[:])
	if err != nil {
		return 0, err
	}
	return parseNumber(string(b))
}

// isLeaf says that a directory of kernfs has no subdirectories: it has as many links as these, plus two.
func isLeaf(dir int) bool {
	var st unix.Stat_t
	err := unix.Fstat(dir, &st)
	return err == nil && st.Nlink == 2
}

// subdirs returns the names of the directories in dir. It reads dir from the start.
func subdirs(dir int) ([]string, error) {
	if isLeaf(dir) { // the common case
		return nil, nil
	}
	if _, err := unix.Seek(dir, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(dir, buf) })
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	dirs := names[:0]
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dirs = append(dirs, name)
		}
	}
	return dirs, nil
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
