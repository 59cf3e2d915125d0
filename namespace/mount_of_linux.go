package namespace

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

func mountOf(ns *os.File, path string) (mount *os.File, err error) {
	err = thread.Run(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		// Its root is that of the namespace from here on.
		if err := withDescriptor(ns, func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWNS) }); err != nil {
			return os.NewSyscallError("setns", err)
		}
		how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
		at, err := unix.Openat2(unix.AT_FDCWD, path, how)
		if err != nil {
			return &os.PathError{Op: "openat2", Path: path, Err: err}
		}
		defer unix.Close(at)
		var st unix.Statx_t
		err = unix.Statx(at, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st)
		if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 { // Linux ≥ 5.8 tells
			err = unix.EINVAL
		}
		if err != nil {
			return &os.PathError{Op: "find mount", Path: path, Err: err}
		}
		fd, err := unix.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		if err != nil {
			return &os.PathError{Op: "open_tree", Path: path, Err: err}
		}
		mount = os.NewFile(uintptr(fd), path)
		return nil
	})
	return mount, err
}
