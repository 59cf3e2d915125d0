package namespace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// label is the SELinux context that a file system's files have, if any.
func (l *Launch) label(typ string) string {
	if slices.Contains([]string{"tmpfs", "devpts"}, typ) {
		return l.MountLabel
	}
	return ""
}

// copyUp makes a detached tmpfs with what the root has at the target. All of it happens on descriptors and before the
// process runs: no name of the image leads out of the root, and no link is followed but on the way to the target.
func (l *Launch) copyUp(m *Mount, givenUp func() error) (_ int, _ bool, err error) {
	if l.copies != nil {
		return l.copyUpInUser(m, givenUp)
	}
	to, given, err := l.newTmpfs(m)
	if err != nil {
		return -1, false, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(to)
		}
	}()
	from, err := l.Root.OpenFolder(m.Target)
	if errors.Is(err, os.ErrNotExist) {
		return to, true, nil
	}
	if err != nil {
		return -1, false, err
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return -1, false, err
	}
	owner := [2]int{int(st.Uid), int(st.Gid)}
	for i, key := range []string{"uid", "gid"} {
		if given[key] {
			owner[i] = -1
		}
	}
	if err := unix.Fchownat(to, "", owner[0], owner[1], unix.AT_EMPTY_PATH); err != nil {
		return -1, false, err
	}
	if !given["mode"] {
		if err := unix.Fchmodat(to, ".", st.Mode&0o7777, 0); err != nil {
			return -1, false, err
		}
	}
	c := &copier{givenUp}
	return to, true, c.folder(int(from.Fd()), to, 0)
}

// newTmpfs makes the tmpfs, and says which options were given.
func (l *Launch) newTmpfs(m *Mount) (_ int, given map[string]bool, err error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	options, given := l.tmpfsOptions(m)
	for _, o := range options {
		if o.flag {
			err = unix.FsconfigSetFlag(fs, o.key)
		} else {
			err = unix.FsconfigSetString(fs, o.key, o.value)
		}
		if err != nil {
			return -1, nil, fmt.Errorf("fsconfig %s: %w", o, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int((m.flags() &^ ReadOnly).attr()))
	return fd, given, os.NewSyscallError("fsmount", err)
}

// An fsOption is an option of a file system.
type fsOption struct {
	key, value string
	flag       bool // it has no value
}

func (o fsOption) String() string {
	if o.flag {
		return o.key
	}
	return o.key + "=" + o.value
}

// tmpfsOptions are the options of the mount, and the names of those that somebody gave.
func (l *Launch) tmpfsOptions(m *Mount) (options []fsOption, given map[string]bool) {
	given = make(map[string]bool)
	for _, o := range strings.Split("source="+sourceOf(m, "tmpfs")+","+m.Data, ",") {
		if o == "" {
			continue
		}
		key, value, ok := strings.Cut(o, "=")
		given[key] = true
		options = append(options, fsOption{key, value, !ok})
	}
	if s := l.label("tmpfs"); s != "" {
		options = append(options, fsOption{key: "context", value: s})
	}
	return options, given
}

// maxCopyDepth bounds the folders within folders that are copied, each of which has two descriptors open.
const maxCopyDepth = 256

// A copier copies until it is told that the start is given up.
type copier struct{ givenUp func() error }

// folder copies the entries of a folder into another one.
func (c *copier) folder(from, to, depth int) error {
	if depth > maxCopyDepth {
		return fmt.Errorf("copy up: %w", unix.ENAMETOOLONG)
	}
	fd, err := openat(from, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), ".")
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if err := c.entry(from, to, name, depth); err != nil {
				return fmt.Errorf("copy up %q: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *copier) entry(from, to int, name string, depth int) error {
	if err := c.givenUp(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		err = c.subfolder(from, to, name, depth)
	case unix.S_IFREG:
		err = c.regular(from, to, name)
	case unix.S_IFLNK:
		b := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(from, name, b); err == nil {
			err = unix.Symlinkat(string(b[:n]), to, name)
		}
	case unix.S_IFSOCK:
		return nil
	default:
		err = unix.Mknodat(to, name, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK { // it is ours, and no link: nobody else can reach it yet
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	if err := copyXattrs(from, to, name); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *copier) subfolder(from, to int, name string, depth int) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	in, err := openat(from, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := openat(to, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	return c.folder(in, out, depth+1)
}

func (c *copier) regular(from, to int, name string) error {
	// O_NONBLOCK: somebody may have put a FIFO in its place meanwhile.
	in, err := openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	r := os.NewFile(uintptr(in), name)
	defer r.Close()
	if st, err := r.Stat(); err != nil || !st.Mode().IsRegular() {
		return errNotRegular
	}
	out, err := openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	w := os.NewFile(uintptr(out), name)
	return errors.Join(copyContent(w, r, c.givenUp), w.Close())
}

// copyContent copies until the end, or until the start is given up.
func copyContent(w, r *os.File, givenUp func() error) (err error) {
	const piece = 16 << 20
	for err = givenUp(); err == nil; err = givenUp() {
		if _, err = io.CopyN(w, r, piece); err != nil {
			break
		}
	}
	if err == io.EOF {
		err = nil
	}
	return err
}

// copyXattrs copies the extended attributes that a tmpfs can have; file capabilities and access lists are among them.
func copyXattrs(from, to int, name string) error {
	in, err := openat(from, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := openat(to, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	// A descriptor of O_PATH has its attributes by its name in /proc, which is followed to the file, a link itself too.
	source, target := fmt.Sprintf("/proc/self/fd/%d", in), fmt.Sprintf("/proc/self/fd/%d", out)
	list := make([]byte, 65536)
	n, err := unix.Listxattr(source, list)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	value := make([]byte, 65536)
	for _, key := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if key == "" || strings.HasPrefix(key, "trusted.overlay.") || key == "security.selinux" {
			continue
		}
		size, err := unix.Getxattr(source, key, value)
		if err != nil {
			return err
		}
		err = unix.Setxattr(target, key, value[:size], 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}
