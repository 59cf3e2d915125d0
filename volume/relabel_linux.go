package volume

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const selinuxName = "security.selinux"

// Relabel gives a file or folder of the host, and all below it, an SELinux context. Folders that the host's own programs need are an error
// that satisfies fs.ErrPermission. Symbolic links below it get the context themselves and are not followed, whoever
// puts them there meanwhile; what goes meanwhile is passed over, and so is a file system that has no contexts. ctx is looked at between
// files: what was done stays. Linux ≥ 5.6.
func Relabel(ctx context.Context, path, label string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "relabel", Path: path, Err: err}
	}
	defer unix.Close(fd)
	// What was opened is looked at, not a name that may be a link to it.
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil {
		err = checkRelabelled(real)
	}
	if err == nil {
		err = relabel(ctx, fd, label)
	}
	if err != nil {
		return fmt.Errorf("relabel %s: %w", path, err)
	}
	return nil
}

// relabel relabels what the descriptor names, then what is below.
func relabel(ctx context.Context, fd int, label string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The name leads to what is open, a symbolic link too, and no further.
	err := unix.Setxattr(fmt.Sprintf("/proc/self/fd/%d", fd), selinuxName, []byte(label), 0)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return os.NewSyscallError("setxattr "+label, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	open, err := unix.Openat2(fd, ".", how)
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	dir := os.NewFile(uintptr(open), "folder")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	how = &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for _, name := range names {
		below, err := unix.Openat2(fd, name, how)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "openat2", Path: name, Err: err}
		}
		err = relabel(ctx, below, label)
		_ = unix.Close(below)
		if err != nil {
			return err
		}
	}
	return nil
}
