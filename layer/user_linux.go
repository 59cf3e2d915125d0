package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// An ordinary user's program owns all files that it makes. What an image gives to others than its root is given to the
// user's subordinate ids, by a deputy in a user namespace; if the user has none, the owner is written down with the file,
// for [Archive] and [Diff] to find.

// ownerXattr is where other programs that run without root look for a file's owner, too: a protocol buffer of two numbers,
// see https://github.com/rootless-containers/proto.
const ownerXattr = "user.rootlesscontainers"

const (
	userOpaqueXattr = "user.overlay.opaque"
	trustedOverlay  = "trusted.overlay."
	userOverlay     = "user.overlay."
)

// userXattrs says whether overlayfs's marks are attributes of the class user, since the program cannot set trusted ones.
var userXattrs = sync.OnceValue(func() bool {
	return !namespace.Privileged() || !namespace.FirstUserNamespace()
})

func opaqueName() string {
	if userXattrs() {
		return userOpaqueXattr
	}
	return opaqueXattr
}

func overlayClass() string {
	if userXattrs() {
		return userOverlay
	}
	return trustedOverlay
}

// owners changes files as the program itself may or, for an ordinary user's, as its deputy may. A nil one is root's.
type owners struct {
	ctx        context.Context
	uids, gids []namespace.IDMapping

	mu     sync.Mutex
	deputy *namespace.Deputy
}

// newOwners returns nil for a program that may do all by itself.
func newOwners(ctx context.Context) *owners { return ownersBy(ctx, nil, nil) }

// ownersBy is newOwners with maps of the caller's own, if there are any.
func ownersBy(ctx context.Context, uids, gids []namespace.IDMapping) *owners {
	if namespace.Privileged() {
		return nil
	}
	if len(uids)+len(gids) == 0 {
		uids, gids = namespace.OwnMappings()
	}
	return &owners{ctx: ctx, uids: uids, gids: gids}
}

func (o *owners) close() error {
	if o == nil || o.deputy == nil {
		return nil
	}
	return o.deputy.Close()
}

// helper starts the deputy when it is first needed: most layers belong to root alone.
func (o *owners) helper() (*namespace.Deputy, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.deputy != nil {
		return o.deputy, nil
	}
	d, err := namespace.NewDeputy(o.ctx, o.uids, o.gids)
	if err == nil {
		o.deputy = d
	}
	return d, err
}

// call makes a system call in the user namespace.
func (o *owners) call(nr int, args ...any) error {
	d, err := o.helper()
	if err != nil {
		return err
	}
	_, err = d.Call(nr, args...)
	return err
}

// or makes the call in the user namespace if the program itself was not allowed to.
func (o *owners) or(err error, nr int, args ...any) error {
	if o == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	return o.call(nr, args...)
}

// single says that there is one user only.
func (o *owners) single() bool { return len(o.uids) == 1 && o.uids[0].Size == 1 }

// host returns the ids that a file has on disk which belongs to uid and gid of an image; recorded says that they are written
// down instead.
func (o *owners) host(uid, gid uint32) (hostUID, hostGID uint32, recorded bool, err error) {
	if o == nil {
		return uid, gid, false, nil
	}
	hostUID, ok := namespace.HostID(o.uids, uid)
	hostGID, ok2 := namespace.HostID(o.gids, gid)
	switch {
	case ok && ok2:
		return hostUID, hostGID, false, nil
	case o.single():
		return uint32(os.Geteuid()), uint32(os.Getegid()), true, nil
	}
	return 0, 0, false, fmt.Errorf("owner %d:%d is none of the ids that /etc/subuid and /etc/subgid grant to user %d: grant more of them, or "+
		"all that there are: %w", uid, gid, os.Geteuid(), fs.ErrPermission)
}

// container is the reverse of host, for a file that is found on disk.
func (o *owners) container(st *unix.Stat_t, xattrs map[string]string) (uid, gid uint32) {
	if o == nil {
		return st.Uid, st.Gid
	}
	if uid, gid, ok := parseOwner(xattrs[ownerXattr]); ok {
		return uid, gid
	}
	uid, gid = st.Uid, st.Gid
	if id, ok := namespace.ContainerID(o.uids, uid); ok {
		uid = id
	}
	if id, ok := namespace.ContainerID(o.gids, gid); ok {
		gid = id
	}
	return uid, gid
}

// chown gives an open file to uid and gid of an image. changed says that the file's owner on disk is another one than the
// program, which may do little with it then.
func (o *owners) chown(fd int, st *unix.Stat_t, uid, gid uint32) (changed bool, err error) {
	hostUID, hostGID, recorded, err := o.host(uid, gid)
	switch {
	case err != nil:
		return false, err
	case recorded:
		err := unix.Fsetxattr(fd, ownerXattr, formatOwner(uid, gid), 0)
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) { // as for any user.* attribute
			return false, nil
		}
		return false, err
	case st.Uid == hostUID && st.Gid == hostGID:
		return false, nil
	case o == nil:
		return false, unix.Fchown(fd, int(uid), int(gid))
	}
	return true, o.call(unix.SYS_FCHOWN, namespace.Descriptor(fd), uid, gid)
}

// chownAt is chown of a file by name.
func (o *owners) chownAt(dir int, base string, st *unix.Stat_t, uid, gid uint32) error {
	hostUID, hostGID, _, err := o.host(uid, gid)
	switch {
	case err != nil:
		return err
	case st.Uid == hostUID && st.Gid == hostGID:
		return nil
	case o == nil:
		return unix.Fchownat(dir, base, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	return o.call(unix.SYS_FCHOWNAT, namespace.Descriptor(dir), base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (o *owners) chmod(fd int, mode uint32, changed bool) error {
	if changed { // its owner still, but not of its group, the program would lose the set-group-ID bit
		return o.call(unix.SYS_FCHMOD, namespace.Descriptor(fd), mode)
	}
	return o.or(unix.Fchmod(fd, mode), unix.SYS_FCHMOD, namespace.Descriptor(fd), mode)
}

func (o *owners) setxattr(fd int, name, value string) error {
	return o.or(unix.Fsetxattr(fd, name, []byte(value), 0),
		unix.SYS_FSETXATTR, namespace.Descriptor(fd), name, []byte(value), len(value), 0)
}

func (o *owners) utimes(fd int, times *[2]unix.Timespec) error {
	return o.or(futimens(fd, times), unix.SYS_UTIMENSAT, namespace.Descriptor(fd), 0, timespecs(times), 0)
}

func (o *owners) utimesAt(dir int, base string, times *[2]unix.Timespec) error {
	err := unix.UtimesNanoAt(dir, base, times[:], unix.AT_SYMLINK_NOFOLLOW)
	return o.or(err, unix.SYS_UTIMENSAT, namespace.Descriptor(dir), base, timespecs(times), unix.AT_SYMLINK_NOFOLLOW)
}

// rename moves a folder, which only its owner may.
func (o *owners) rename(from, to string) error {
	err := os.Rename(from, to)
	if o == nil || !errors.Is(err, unix.EACCES) {
		return err
	}
	from, err = filepath.Abs(from)
	to, err2 := filepath.Abs(to)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if err := o.call(unix.SYS_RENAMEAT, unix.AT_FDCWD, from, unix.AT_FDCWD, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// open opens a file of an overlay or a layer, which may belong to others and be closed to the program.
func (o *owners) open(dir int, name string, flags int) (int, error) {
	fd, err := openat(dir, name, flags, 0)
	if o == nil || !errors.Is(err, unix.EACCES) {
		return fd, err
	}
	d, err := o.helper()
	if err != nil {
		return -1, err
	}
	var at any = namespace.Descriptor(dir)
	if dir == unix.AT_FDCWD {
		at = dir
	}
	f, err := d.Open(name, unix.SYS_OPENAT, at, name, flags)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// keeps says whether an attribute of an image can be kept.
func (o *owners) keeps(xattr string) bool { return o == nil || !strings.HasPrefix(xattr, "trusted.") }

// formatOwner is an owner as ownerXattr has it.
func formatOwner(uid, gid uint32) []byte {
	var b []byte
	for i, v := range []uint32{uid, gid} {
		if v == 0 {
			continue
		}
		for b = append(b, byte(i+1)<<3); v >= 0x80; v >>= 7 {
			b = append(b, byte(v)|0x80)
		}
		b = append(b, byte(v))
	}
	return b
}

// parseOwner reads what formatOwner writes, and what other programs do.
func parseOwner(s string) (uid, gid uint32, ok bool) {
	if s == "" {
		return 0, 0, false
	}
	for s != "" {
		field := s[0]
		v, shift := uint64(0), 0
		for s = s[1:]; ; s = s[1:] {
			if s == "" || shift > 28 {
				return 0, 0, false
			}
			v |= uint64(s[0]&0x7f) << shift
			shift += 7
			if s[0]&0x80 == 0 {
				s = s[1:]
				break
			}
		}
		if v >= noID {
			return 0, 0, false
		}
		switch field {
		case 1 << 3:
			uid = uint32(v)
		case 2 << 3:
			gid = uint32(v)
		default:
			return 0, 0, false
		}
	}
	return uid, gid, true
}

// stat is lstatat of a file in a folder that may be closed to the program.
func (o *owners) stat(dir int, name string) (*unix.Stat_t, error) {
	st, err := lstatat(dir, name)
	if o == nil || !errors.Is(err, unix.EACCES) {
		return st, err
	}
	fd, err := o.open(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return st, unix.Fstat(fd, st)
}

// readNode is the function of that name for what is closed to the program.
func (o *owners) readNode(fd int, base string) (*node, error) {
	n, at := &node{}, fd
	if base != "" {
		place, err := o.open(fd, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("stat: %w", err)
		}
		defer unix.Close(place)
		at = place
	}
	if err := unix.Fstat(at, &n.st); err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	var err error
	switch n.st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if n.link, err = readlinkat(at, ""); err != nil {
			return nil, fmt.Errorf("read link: %w", err)
		}
		return n, nil
	case unix.S_IFREG, unix.S_IFDIR: // others have no attributes that matter
	default:
		return n, nil
	}
	if base != "" {
		if at, err = o.open(fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
		defer unix.Close(at)
	}
	if n.xattrs, err = o.readXattrs(at); err != nil {
		return nil, fmt.Errorf("read extended attributes: %w", err)
	}
	return n, nil
}

func (o *owners) readXattrs(fd int) (map[string]string, error) {
	d, err := o.helper()
	if err != nil {
		return nil, err
	}
	get := func(nr int, args ...any) ([]byte, error) {
		b := make([]byte, 32<<10)
		n, err := d.Call(nr, append(append([]any{namespace.Descriptor(fd)}, args...), b, len(b))...)
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
	list, err := get(unix.SYS_FLISTXATTR)
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := get(unix.SYS_FGETXATTR, name)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = string(value)
	}
	return all, nil
}
