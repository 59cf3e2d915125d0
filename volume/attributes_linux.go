package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// copyAttributes gives dst the owner, mode, extended attributes and times of src. The order matters: a change of owner
// clears set-user-ID bits and file capabilities.
func copyAttributes(g *giver, src, dst *os.File, st *unix.Stat_t) error {
	fd := int(dst.Fd())
	if err := unix.Fchownat(fd, "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(procPath(dst), st.Mode&0o7777); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
		if err := copyXattrs(g, src, dst); err != nil {
			return err
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// copyXattrs copies extended attributes, by way of /proc, since the descriptors may be mere places. Those of a
// symbolic link, which only trusted programs can set, are left out. Those of the class user follow the permissions of the file, by
// which an ordinary user's program may be shut out: then they are the giver's.
func copyXattrs(g *giver, src, dst *os.File) error {
	from, to := procPath(src), procPath(dst)
	names, err := xattr(func(b []byte) (int, error) { return unix.Listxattr(from, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	for name := range bytes.SplitSeq(names, []byte{0}) {
		name := string(name)
		if name == "" || !keeps(name) {
			continue
		}
		value, err := xattr(func(b []byte) (int, error) { return unix.Getxattr(from, name, b) })
		content := strings.HasPrefix(name, "user.")
		if content && forbidden(err) {
			value, err = xattr(func(b []byte) (int, error) { return g.getxattr(src, name, b) })
		}
		if errors.Is(err, unix.ENODATA) || forbidden(err) && !content {
			continue
		}
		if err != nil {
			return fmt.Errorf("read attribute %s: %w", name, err)
		}
		err = unix.Setxattr(to, name, value, 0)
		if content {
			err = g.or(err, unix.SYS_FSETXATTR, namespace.Descriptor(dst.Fd()), name, value, len(value), 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) && (content || !forbidden(err)) {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}

// keeps tells which attributes belong to the content: not overlayfs's own, nor labels of the host's security module.
func keeps(name string) bool {
	for _, other := range []string{"trusted.overlay.", "user.overlay.", "security.selinux", "security.SMACK64"} {
		if strings.HasPrefix(name, other) {
			return false
		}
	}
	return true
}

// xattr calls with a buffer that is large enough. The kernel's limit for names and for a value is 64 KiB.
func xattr(call func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, 1<<10)
	n, err := call(b)
	if errors.Is(err, unix.ERANGE) {
		b = make([]byte, 64<<10)
		n, err = call(b)
	}
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

// forbidden says that an ordinary user's program may not read or set an attribute, such as one of the host's security module.
// File capabilities are kept by [giver.capabilities].
func forbidden(err error) bool {
	return (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && !namespace.Privileged()
}
