package layer

import (
	"errors"
	"io"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below take a name as one component, relative to a descriptor, and repeat what a signal interrupted.

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	for {
		if fd, err = unix.Openat(dir, name, flags, mode); err != unix.EINTR {
			return fd, err
		}
	}
}

func lstatat(dir int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return &st, err
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, maxName+1)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// futimens sets the times of an open file.
func futimens(fd int, times *[2]unix.Timespec) error {
	for {
		_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return e
		}
		return nil
	}
}

// procPath names a file by its folder's descriptor, for the calls that have no -at form. Such a call must not follow
// the last component.
func procPath(dir int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

// A removal is what removeTree removed.
type removal struct {
	names   int64
	bytes   int64    // of regular files that lost their last name
	usage   int64    // likewise, of all files but folders
	folders []string // paths, below what base is
}

func (r *removal) count(st *unix.Stat_t, path string) {
	r.names++
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		r.folders = append(r.folders, path)
		return
	case unix.S_IFREG:
		if st.Nlink == 1 {
			r.bytes += st.Size
		}
	}
	if st.Nlink == 1 {
		r.usage += st.Blocks * 512
	}
}

// remove removes the file base in d and, when it is a folder, all below. It follows no link. It goes down one
// descriptor a level.
func (r *removal) remove(d *dir, base string) error {
	st, err := lstatat(d.fd, base)
	if err != nil {
		return err
	}
	at := joinName(d.path, base)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		r.count(st, at)
		return unix.Unlinkat(d.fd, base, 0)
	}
	fd, err := openat(d.fd, base, openDir, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, n := range names {
			if err := r.remove(&dir{fd: fd, path: at}, n); err != nil {
				return err
			}
		}
		if len(names) == 0 {
			if err != nil && err != io.EOF {
				return err
			}
			break
		}
		// A folder that changes while it is read may skip names: start again.
		if _, err := f.Seek(0, 0); err != nil {
			return err
		}
	}
	r.count(st, at)
	return unix.Unlinkat(d.fd, base, unix.AT_REMOVEDIR)
}

// hint adds what to do to the errors that say little by themselves.
func hint(err error, what string) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return &hinted{err, what}
	case errors.Is(err, unix.ENOSPC):
		return &hinted{err, "the file system of the layer store is full, or out of inodes"}
	case errors.Is(err, unix.EDQUOT):
		return &hinted{err, "the disk quota of the layer store's owner is used up"}
	}
	return err
}

type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() + " (" + h.hint + ")" }
func (h *hinted) Unwrap() error { return h.err }

// timespecs are times as utimensat(2) reads them.
func timespecs(t *[2]unix.Timespec) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(t)), unsafe.Sizeof(*t))...)
}
