package treecopy

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// By returns the Tree of a folder in which c makes the system calls. Owners are ids as c has them. Linux ≥ 5.6.
func By(c Caller, folder *os.File) (Tree, error) { return &callerTree{c, folder}, nil }

type callerTree struct {
	c      Caller
	folder *os.File
}

// maxTries bounds how often something is looked up again because somebody has renamed a folder meanwhile.
const maxTries = 100

func (t *callerTree) open(name string, flags int, mode fs.FileMode) (*os.File, error) {
	b := make([]byte, 0, unix.SizeofOpenHow)
	for _, v := range []uint64{uint64(flags | unix.O_CLOEXEC), uint64(mode.Perm()), unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	for tries := 0; ; tries++ {
		f, err := t.c.Open(name, unix.SYS_OPENAT2, t.folder, name, b, len(b))
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) || tries == maxTries {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// in calls f with the folder that the name is in, and its last part.
func (t *callerTree) in(op, name string, f func(dir *os.File, base string) error) error {
	dir := t.folder
	if d := path.Dir(name); d != "." {
		var err error
		if dir, err = t.open(d, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			return err
		}
		defer dir.Close()
	}
	base := path.Base(name)
	if base == ".." {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if err := f(dir, base); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// do makes a system call whose first two arguments are the folder and the last part of the name.
func (t *callerTree) do(op string, nr int, name string, args ...any) error {
	return t.in(op, name, func(dir *os.File, base string) error {
		_, err := t.c.Call(nr, append([]any{dir, base}, args...)...)
		return err
	})
}

// place opens what has the name, itself and not what it may link to, without any effect on it.
func (t *callerTree) place(name string) (*os.File, error) {
	return t.open(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

func (t *callerTree) Lstat(name string) (fs.FileInfo, error) {
	f, err := t.place(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

func (t *callerTree) Readlink(name string) (string, error) {
	f, err := t.place(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", b)
	if errors.Is(err, unix.ENOENT) { // what the kernel says of what is no link, if it has no name
		err = unix.EINVAL
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(b[:n]), nil
}

func (t *callerTree) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&unix.O_PATH == 0 {
		flag |= unix.O_NOCTTY
	}
	return t.open(name, flag, perm)
}

func (t *callerTree) Mkdir(name string, perm fs.FileMode) error {
	return t.do("mkdir", unix.SYS_MKDIRAT, name, int(perm.Perm()))
}

func (t *callerTree) MkdirAll(name string, perm fs.FileMode) error {
	f, err := t.open(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if dir := path.Dir(name); dir != "." {
		if err := t.MkdirAll(dir, perm); err != nil {
			return err
		}
	}
	if err := t.Mkdir(name, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (t *callerTree) Symlink(target, name string) error {
	return t.in("symlink", name, func(dir *os.File, base string) error {
		_, err := t.c.Call(unix.SYS_SYMLINKAT, target, dir, base)
		return err
	})
}

func (t *callerTree) Link(target, name string) error {
	return t.in("link", target, func(from *os.File, old string) error {
		return t.in("link", name, func(to *os.File, base string) error {
			_, err := t.c.Call(unix.SYS_LINKAT, from, old, to, base, 0)
			return err
		})
	})
}

func (t *callerTree) Remove(name string) error { return t.do("remove", unix.SYS_UNLINKAT, name, 0) }

func (t *callerTree) Lchown(name string, uid, gid int) error {
	return t.do("chown", unix.SYS_FCHOWNAT, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (t *callerTree) Chtimes(name string, accessed, modified time.Time) error {
	b := make([]byte, 0, 32)
	for _, x := range []time.Time{accessed, modified} {
		sec, nsec := uint64(x.Unix()), uint64(x.Nanosecond())
		if x.IsZero() {
			sec, nsec = 0, unix.UTIME_OMIT
		}
		b = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(b, sec), nsec)
	}
	return t.do("chtimes", unix.SYS_UTIMENSAT, name, b, unix.AT_SYMLINK_NOFOLLOW)
}

func (t *callerTree) chown(f *os.File, uid, gid int) error {
	if _, err := t.c.Call(unix.SYS_FCHOWN, f, uid, gid); err != nil {
		return &fs.PathError{Op: "chown", Path: f.Name(), Err: err}
	}
	return nil
}

func (t *callerTree) chmod(f *os.File, mode fs.FileMode) error {
	bits := int(mode.Perm())
	for m, bit := range map[fs.FileMode]int{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if mode&m != 0 {
			bits |= bit
		}
	}
	if _, err := t.c.Call(unix.SYS_FCHMOD, f, bits); err != nil {
		return &fs.PathError{Op: "chmod", Path: f.Name(), Err: err}
	}
	return nil
}

func (t *callerTree) openSame(name string, st fs.FileInfo, flag int) (*os.File, error) {
	now, err := t.Lstat(name)
	if err != nil || !os.SameFile(now, st) {
		return nil, changed(name, err)
	}
	f, err := t.open(name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if now, err = f.Stat(); err != nil || !os.SameFile(now, st) {
		_ = f.Close()
		return nil, changed(name, err)
	}
	return f, nil
}
