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

// copiesInUser says whether a tmpfs is to be filled that belongs to a user namespace, for which nothing is made yet.
func (l *Launch) copiesInUser() bool {
	return l.copies == nil && l.userMode().own && slices.ContainsFunc(l.Mounts, func(m Mount) bool { return m.CopyUp })
}

// startCopying has a deputy make and fill the tmpfs: it belongs to the process's user namespace, which is there before the
// process is, and in which only those have files who have ids there.
func (l *Launch) startCopying(ctx context.Context) (*Process, error) {
	done, own, err := l.withDeputy(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return own.Start(ctx)
}

// withDeputy is the launch with a deputy in the user namespace, and with that namespace to join.
func (l *Launch) withDeputy(ctx context.Context) (done func(), _ *Launch, err error) {
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	own := *l
	if join := l.Namespaces.User.Join; join != nil {
		own.copies, err = joinDeputy(ctx, join)
	} else if own.copies, err = NewDeputy(ctx, l.UIDMappings, l.GIDMappings); err == nil {
		own.giveMaps()
		own.UIDMappings, own.GIDMappings, own.Namespaces.User = nil, nil, Namespace{Join: own.copies.User()}
	}
	if err != nil {
		return nil, nil, err
	}
	return func() { _ = own.copies.Close() }, &own, nil
}

// copyUpInUser is copyUp for a user namespace. What the host program may read it reads; all that is made is made by the
// deputy, since the host's users have no files there.
func (l *Launch) copyUpInUser(m *Mount, givenUp func() error) (_ int, _ bool, err error) {
	c := &userCopier{d: l.copies, givenUp: givenUp}
	if l.RootIDMap != nil {
		c.shownUIDs, c.shownGIDs = l.RootIDMap.UIDs, l.RootIDMap.GIDs
	}
	options, given := l.tmpfsOptions(m)
	to, err := c.newTmpfs(options, int((m.flags() &^ ReadOnly).attr()))
	if err != nil {
		return -1, false, err
	}
	defer to.Close()
	keep := func() (int, bool, error) {
		fd, err := duplicate(to)
		return fd, true, err
	}
	from, err := l.Root.OpenFolder(m.Target)
	if errors.Is(err, os.ErrNotExist) {
		return keep()
	}
	if err != nil {
		return -1, false, err
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return -1, false, err
	}
	uid, gid, err := c.owner(&st)
	if err != nil {
		return -1, false, err
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
		return -1, false, err
	}
	defer top.Close()
	if _, err := c.d.Call(unix.SYS_FCHOWN, top, uid, gid); err != nil {
		return -1, false, os.NewSyscallError("fchown", err)
	}
	if !given["mode"] {
		if _, err := c.d.Call(unix.SYS_FCHMOD, top, st.Mode&0o7777); err != nil {
			return -1, false, os.NewSyscallError("fchmod", err)
		}
	}
	if err := c.folder(from, top, 0); err != nil {
		return -1, false, err
	}
	return keep()
}

// A userCopier copies into a user namespace.
type userCopier struct {
	d                    *Deputy
	givenUp              func() error
	shownUIDs, shownGIDs []IDMapping // whose ids the root shows, if not those that are on disk
}

func (c *userCopier) newTmpfs(options []fsOption, attr int) (*os.File, error) {
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

// owner is whom a file of the root belongs to in the user namespace.
func (c *userCopier) owner(st *unix.Stat_t) (uid, gid int, err error) {
	id := func(shown, maps []IDMapping, id uint32) (int, bool) {
		if len(shown) > 0 {
			var ok bool
			if id, ok = HostID(shown, id); !ok {
				return 0, false
			}
		}
		id, ok := ContainerID(maps, id)
		return int(id), ok
	}
	uids, gids := c.d.Mappings()
	uid, ok := id(c.shownUIDs, uids, st.Uid)
	gid, ok2 := id(c.shownGIDs, gids, st.Gid)
	if !ok || !ok2 {
		return 0, 0, fmt.Errorf("its owner %d:%d has no id in the user namespace: %w", st.Uid, st.Gid, unix.EOVERFLOW)
	}
	return uid, gid, nil
}

// open opens a file of the root: by the deputy what an ordinary user's subordinate ids keep from the user.
func (c *userCopier) open(from *os.File, name string, flags int) (*os.File, error) {
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
func (c *userCopier) folder(from, to *os.File, depth int) error {
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

func (c *userCopier) entry(from, to *os.File, name string, depth int) error {
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
	if kind == unix.S_IFSOCK || (kind == unix.S_IFCHR || kind == unix.S_IFBLK) && st.Rdev != 0 {
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
		made, err = c.regular(from, to, name)
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
	if kind != unix.S_IFLNK { // it is ours, and no link: nobody else can reach it yet
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

func (c *userCopier) subfolder(from, to *os.File, name string, depth int) (*os.File, error) {
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

func (c *userCopier) regular(from, to *os.File, name string) (*os.File, error) {
	// O_NONBLOCK: somebody may have put a FIFO in its place meanwhile.
	r, err := c.open(from, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if st, err := r.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	w, err := c.d.Open(name, unix.SYS_OPENAT, to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return w, copyContent(w, r, c.givenUp)
}

// attributes copies the extended attributes that a file of a user namespace can have, file capabilities among them.
func (c *userCopier) attributes(from, to *os.File, name string) error {
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
		if !strings.HasPrefix(key, "user.") && !strings.HasPrefix(key, "system.posix_acl_") && key != capabilityXattr ||
			strings.HasPrefix(key, "user.overlay.") {
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
		if key == capabilityXattr {
			if v = c.capabilities(v); v == nil {
				continue
			}
		}
		if _, err = c.d.Call(unix.SYS_FSETXATTR, to, key, bytes.Clone(v), len(v), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// capabilityXattr has a file's capabilities.
const capabilityXattr = "security.capability"

// capabilities are a file's as [Deputy.FileCapabilities] has them, if the root shows the ids on disk or others.
func (c *userCopier) capabilities(v []byte) []byte {
	uids, _ := c.d.Mappings()
	return fileCapabilities(v, c.shownUIDs, uids)
}

// FileCapabilities returns the capabilities of a file, the value of the attribute security.capability as this program reads it, in
// the form in which the deputy sets them for another file; nil if they are not in force in its user namespace. See
// capabilities(7), "File capability extended attribute versioning".
func (d *Deputy) FileCapabilities(v []byte) []byte { return fileCapabilities(v, nil, d.uids) }

func fileCapabilities(v []byte, shown, uids []IDMapping) []byte {
	const (
		second, third = 0x02000000, 0x03000000
		version       = 0xff000000
		secondSize    = 20
		thirdSize     = 24
	)
	if len(v) < secondSize {
		return nil
	}
	magic := binary.LittleEndian.Uint32(v)
	root := uint32(0)
	if magic&version == third && len(v) == thirdSize {
		root = binary.LittleEndian.Uint32(v[secondSize:])
	} else if magic&version != second {
		return nil
	}
	if len(shown) > 0 {
		var ok bool
		if root, ok = HostID(shown, root); !ok {
			return nil
		}
	}
	if id, ok := ContainerID(uids, root); !ok || id != 0 {
		return nil
	}
	v = bytes.Clone(v[:secondSize])
	binary.LittleEndian.PutUint32(v, magic&^version|second)
	return v
}
