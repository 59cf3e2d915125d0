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
