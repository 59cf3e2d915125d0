package namespace

import (
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// openNull opens /dev/null. One may write to the device, but whoever is root in a container must not change the mode or owner of
// the host's node: so it is opened through a read-only mount.
func openNull() (int, error) {
	switch {
	case !privileged(): // the host's own: whoever may change it as an ordinary user may do so anyway
		return unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	case kernel.MountSetattr.Err() == nil:
		return openSharedNull()
	}
	return openOwnNull()
}

// once calls open the first time only: the standard files of a process share what it opens.
func once(open func() (int, error)) func() (int, bool, error) {
	shared := -1
	return func() (fd int, owned bool, err error) {
		if shared >= 0 {
			return shared, false, nil
		}
		if fd, err = open(); err == nil {
			shared = fd
		}
		return fd, true, err
	}
}

func openSharedNull() (int, error) {
	template.Lock()
	defer template.Unlock()
	if err := makeNull(); err != nil {
		return -1, err
	}
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", template.null), unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// makeNull makes the read-only mount of /dev/null, once. The caller holds the template's lock.
func makeNull() error {
	if template.null != 0 || kernel.MountSetattr.Err() != nil {
		return nil
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, os.DevNull, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		_ = unix.Close(tree)
		return os.NewSyscallError("mount_setattr", err)
	}
	template.null = tree
	return nil
}

// openOwnNull makes a node of our own on a file system of its own, for kernels before Linux 5.12.
func openOwnNull() (int, error) {
	tree, err := nodeMount()
	if err != nil {
		return -1, err
	}
	defer unix.Close(tree)
	if err := unix.Mknodat(tree, "null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		return -1, err
	}
	return unix.Openat(tree, "null", unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// nodeMount makes a detached tmpfs for a device node.
func nodeMount() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
}
