package kernel

import (
	"errors"

	"golang.org/x/sys/unix"
)

// MountSetattr is mount_setattr(2).
var MountSetattr = &Feature{Name: "mount_setattr(2)", Since: "5.12", Probe: func() error {
	// A descriptor that cannot be: EBADF if there is such a call.
	err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return nil
}}

// Clone3 is clone3(2), by which a process is made in a control group of the unified hierarchy. Sandboxes take it away: a
// filter cannot look at its arguments.
var Clone3 = &Feature{Name: "clone3(2) with CLONE_INTO_CGROUP", Since: "5.7", Probe: func() error {
	// Arguments that are too short: EINVAL if there is such a call.
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	switch errno {
	case unix.EINVAL:
		return nil
	case unix.ENOSYS, unix.EPERM:
		return errors.ErrUnsupported
	}
	return errno
}}
