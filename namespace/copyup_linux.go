package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A tmpfs that CopyUp fills is made and filled by a [Deputy], before the process is: in the process's control group, which the memory is
// charged to, and in its user namespace, to which the tmpfs belongs, and in which only those have files who have ids there.
// What the host program may read it reads. All of it happens on descriptors: no name of the image leads out of the root,
// and no link is followed but on the way to the target.

// copiesUp says whether a tmpfs is to be filled, and there is no deputy for it yet.
func (l *Launch) copiesUp() bool {
	return l.copies == nil && slices.ContainsFunc(l.Mounts, func(m Mount) bool { return m.CopyUp })
}

func (l *Launch) startCopying(ctx context.Context) (*Process, error) {
	done, own, err := l.withDeputy(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return own.Start(ctx)
}

// withDeputy is the launch with a deputy. A user namespace that was to be made is made with it, and is one to join then.
func (l *Launch) withDeputy(ctx context.Context) (done func(), _ *Launch, err error) {
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	own, d := *l, deputyLaunch()
	d.CgroupTasks, d.CgroupDir = l.CgroupTasks, l.CgroupDir
	d.UIDMappings, d.GIDMappings, d.Namespaces.User = l.UIDMappings, l.GIDMappings, l.Namespaces.User
	if own.copies, err = newDeputy(ctx, d); err != nil {
		return nil, nil, err
	}
	if l.newUser() {
		own.giveMaps()
		own.UIDMappings, own.GIDMappings, own.Namespaces.User = nil, nil, Namespace{Join: own.copies.User()}
	}
	stop := own.copies.endWith(ctx, own.copies.sock)
	return func() {
		stop()
		_ = own.copies.Close()
	}, &own, nil
}

// copyUp makes a detached tmpfs with what the root has at the target.
func (l *Launch) copyUp(m *Mount, givenUp func() error) (int, bool, error) {
	own := l.userMode().own
	c := &copier{d: l.copies, givenUp: givenUp, mapped: own, noDevices: own || !firstUserNamespace()}
	if l.RootIDMap != nil {
		c.shownUIDs, c.shownGIDs = l.RootIDMap.UIDs, l.RootIDMap.GIDs
	}
	to, err := c.fill(l, m)
	if err != nil {
		if e := givenUp(); e != nil {
			err = e // the deputy was ended
		}
		return -1, false, c.d.fate(err)
	}
	return to, true, nil
}

func (c *copier) fill(l *Launch, m *Mount) (int, error) {
	options, given := l.tmpfsOptions(m)
	to, err := c.newTmpfs(options, int((m.flags() &^ ReadOnly).attr()))
	if err != nil {
		return -1, err
	}
	defer to.Close()
	from, err := l.Root.OpenFolder(m.Target)
	if errors.Is(err, os.ErrNotExist) {
		return duplicate(to)
	}
	if err != nil {
		return -1, err
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return -1, err
	}
	uid, gid, err := c.owner(&st)
	if err != nil {
		return -1, err
	}
	if given["uid"] {
		uid = -1
	}
	if given["gid"] {
		gid = -1
	}
	// The mount's own descriptor is not one for files.
	top, err := c.d.Open(m.Target, unix.SYS_OPENAT, to, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer top.Close()
	if err := c.folder(from, top, 0); err != nil {
		return -1, err
	}
	if _, err := c.d.Call(unix.SYS_FCHOWN, top, uid, gid); err != nil {
		return -1, os.NewSyscallError("fchown", err)
	}
	if !given["mode"] {
		if _, err := c.d.Call(unix.SYS_FCHMOD, top, st.Mode&0o7777); err != nil {
			return -1, os.NewSyscallError("fchmod", err)
		}
	}
	return duplicate(to)
}

// A copier copies until it is told that the start is given up.
type copier struct {
	d                    *Deputy
	givenUp              func() error
	mapped               bool        // into a user namespace of the process's own
	noDevices            bool        // there are none in it, or the program's
	shownUIDs, shownGIDs []IDMapping // whose ids the root shows, if not those that are on disk
}

// maxCopyDepth bounds the folders within folders that are copied, each of which has some descriptors open.
const maxCopyDepth = 256

// label is the SELinux context that a file system's files have, if any.
func (l *Launch) label(typ string) string {
	if slices.Contains([]string{"tmpfs", "devpts"}, typ) {
		return l.MountLabel
	}
	return ""
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

func (c *copier) newTmpfs(options []fsOption, attr int) (*os.File, error) {
	fs, err := c.d.Call(unix.SYS_FSOPEN, "tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer c.d.Call(unix.SYS_CLOSE, fs)
	for _, o := range options {
		if o.flag {
			_, err = c.d.Call(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_FLAG, o.key, 0, 0)
		} else {
			_, err = c.d.Call(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_STRING, o.key, o.value, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("fsconfig %s: %w", o, err)
		}
	}
	if _, err := c.d.Call(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	f, err := c.d.Open("tmpfs", unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return f, nil
}

// owner is whom a file of the root belongs to where the tmpfs is.
func (c *copier) owner(st *unix.Stat_t) (uid, gid int, err error) {
	uids, gids := c.d.Mappings()
	id := func(shown, maps []IDMapping, id uint32) (_ int, ok bool) {
		if len(shown) > 0 {
			if id, ok = HostID(shown, id); !ok {
				return 0, false
			}
		}
		if c.mapped {
			id, ok = ContainerID(maps, id)
			return int(id), ok
		}
		return int(id), true
	}
	uid, ok := id(c.shownUIDs, uids, st.Uid)
	gid, ok2 := id(c.shownGIDs, gids, st.Gid)
	if !ok || !ok2 {
		return 0, 0, fmt.Errorf("its owner %d:%d has no id in the user namespace: %w", st.Uid, st.Gid, unix.EOVERFLOW)
	}
	return uid, gid, nil
}

// open opens a file of the root: by the deputy what an ordinary user's subordinate ids keep from the user.
func (c *copier) open(from *os.File, name string, flags int) (*os.File, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := openat(int(from.Fd()), name, flags)
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	if !errors.Is(err, unix.EACCES) {
		return nil, err
	}
	return c.d.Open(name, unix.SYS_OPENAT, from, name, flags, 0)
}

// folder copies the entries of a folder into another one.
func (c *copier) folder(from, to *os.File, depth int) error {
	if depth > maxCopyDepth {
		return fmt.Errorf("copy up: %w", unix.ENAMETOOLONG)
	}
	dir, err := c.open(from, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
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

func (c *copier) entry(from, to *os.File, name string, depth int) error {
	if err := c.givenUp(); err != nil {
		return err
	}
	place, err := c.open(from, name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer place.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(place.Fd()), &st); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	device := kind == unix.S_IFBLK || kind == unix.S_IFCHR && st.Rdev != 0 // else it is a whiteout, which anybody can make
	if kind == unix.S_IFSOCK || c.noDevices && device {
		return nil
	}
	uid, gid, err := c.owner(&st)
	if err != nil {
		return err
	}
	var made *os.File // what has attributes
	switch kind {
	case unix.S_IFDIR:
		made, err = c.subfolder(from, to, name, depth)
	case unix.S_IFREG:
		made, err = c.regular(from, to, name, st.Mode&0o777)
	case unix.S_IFLNK:
		b := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(int(place.Fd()), "", b); err == nil {
			_, err = c.d.Call(unix.SYS_SYMLINKAT, string(b[:n]), to, name)
		}
	default:
		_, err = c.d.Call(unix.SYS_MKNODAT, to, name, st.Mode, st.Rdev)
	}
	if made != nil {
		defer made.Close()
	}
	if err != nil {
		return err
	}
	if _, err := c.d.Call(unix.SYS_FCHOWNAT, to, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("fchownat", err)
	}
	// Nobody else can reach it yet. Files are made with their mode, of which a new owner leaves the permissions.
	if kind == unix.S_IFDIR || kind != unix.S_IFLNK && st.Mode&0o7000 != 0 {
		if _, err := c.d.Call(unix.SYS_FCHMODAT, to, name, st.Mode&0o7777); err != nil {
			return os.NewSyscallError("fchmodat", err)
		}
	}
	if made != nil {
		if err := c.attributes(from, made, name); err != nil {
			return err
		}
	}
	var times []byte
	for _, t := range []unix.Timespec{st.Atim, st.Mtim} {
		times = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(times, uint64(t.Sec)), uint64(t.Nsec))
	}
	_, err = c.d.Call(unix.SYS_UTIMENSAT, to, name, times, unix.AT_SYMLINK_NOFOLLOW)
	return os.NewSyscallError("utimensat", err)
}

func (c *copier) subfolder(from, to *os.File, name string, depth int) (*os.File, error) {
	if _, err := c.d.Call(unix.SYS_MKDIRAT, to, name, 0o700); err != nil {
		return nil, err
	}
	in, err := c.open(from, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := c.d.Open(name, unix.SYS_OPENAT, to, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return out, c.folder(in, out, depth+1)
}

func (c *copier) regular(from, to *os.File, name string, perm uint32) (*os.File, error) {
	// O_NONBLOCK: somebody may have put a FIFO in its place meanwhile.
	r, err := c.open(from, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	st, err := r.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	w, err := c.d.Open(name, unix.SYS_OPENAT, to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
	if err != nil {
		return nil, err
	}
	return w, c.content(w, r, st.Size())
}

// content copies until the end, or until the start is given up.
func (c *copier) content(w, r *os.File, size int64) error {
	const piece = 16 << 20
	for done := int64(0); done < size; {
		if err := c.givenUp(); err != nil {
			return err
		}
		n, err := c.d.Call(unix.SYS_SENDFILE, w, r, 0, piece)
		if err != nil {
			return os.NewSyscallError("sendfile", err)
		}
		if n == 0 {
			break // it has become shorter
		}
		done += int64(n)
	}
	return nil
}

// attributes copies the extended attributes that a file of a tmpfs can have, file capabilities and access lists among them.
func (c *copier) attributes(from, to *os.File, name string) error {
	in, err := c.open(from, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	defer in.Close()
	list := make([]byte, 65536)
	n, err := unix.Flistxattr(int(in.Fd()), list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("flistxattr", err)
	}
	value := make([]byte, 65536)
	for _, key := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if !c.copied(key) {
			continue
		}
		size, err := unix.Fgetxattr(int(in.Fd()), key, value)
		if errors.Is(err, unix.EACCES) {
			size, err = c.d.Call(unix.SYS_FGETXATTR, in, key, value, len(value))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		v := value[:size]
		if key == capabilityXattr && c.mapped {
			uids, _ := c.d.Mappings()
			if v = fileCapabilities(v, c.shownUIDs, uids); v == nil {
				continue
			}
		}
		if _, err = c.d.Call(unix.SYS_FSETXATTR, to, key, bytes.Clone(v), len(v), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// copied says whether an extended attribute goes along.
func (c *copier) copied(key string) bool {
	has := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
	switch {
	case key == "", key == "security.selinux", has("trusted.overlay."), has("user.overlay."):
		return false
	case c.mapped:
		return has("user.") || has("system.posix_acl_") || key == capabilityXattr
	}
	return true
}
