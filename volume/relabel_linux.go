package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const selinuxName = "security.selinux"

// maxRelabelDepth bounds how deep folders are: a path of the kernel's can name no deeper one.
const maxRelabelDepth = 2048

// Relabel gives a file or folder of the host, and all below it, an SELinux context. Folders that the host's own programs need are an error
// that satisfies fs.ErrPermission. Symbolic links below it get the context themselves and are not followed, whoever
// puts them there meanwhile; what goes meanwhile is passed over, and so is a file system that has no contexts. Folders more than 2048 deep
// are an error that satisfies fs.ErrInvalid: whoever can write there could make any number. ctx is looked at between
// files: what was done stays. Linux ≥ 5.6.
func Relabel(ctx context.Context, path, label string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "relabel", Path: path, Err: err}
	}
	// What was opened is looked at, not a name that may be a link to it.
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil {
		err = checkRelabelled(real)
	}
	if err != nil {
		_ = unix.Close(fd)
	} else {
		err = relabel(ctx, fd, label, 0)
	}
	if err != nil {
		return fmt.Errorf("relabel %s: %w", path, err)
	}
	return nil
}

// relabel relabels what the descriptor names, which it closes, then what is below. It holds one descriptor of each folder on the way.
func relabel(ctx context.Context, fd int, label string, depth int) error {
	dir, err := relabelOne(ctx, fd, label)
	_ = unix.Close(fd)
	if dir == nil || err != nil {
		return err
	}
	defer dir.Close()
	if depth == maxRelabelDepth {
		return fmt.Errorf("folders are more than %d deep: %w", maxRelabelDepth, fs.ErrInvalid)
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for {
		names, err := dir.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			below, err := unix.Openat2(int(dir.Fd()), name, how)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return &os.PathError{Op: "openat2", Path: name, Err: err}
			}
			if err := relabel(ctx, below, label, depth+1); err != nil {
				return err
			}
		}
	}
}

// relabelOne relabels what the descriptor names, and opens it if it is a folder.
func relabelOne(ctx context.Context, fd int, label string) (dir *os.File, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The name leads to what is open, a symbolic link too, and no further.
	err = unix.Setxattr(fmt.Sprintf("/proc/self/fd/%d", fd), selinuxName, []byte(label), 0)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, os.NewSyscallError("setxattr "+label, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, err
	}
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	open, err := unix.Openat2(fd, ".", how)
	if err != nil {
		return nil, os.NewSyscallError("openat2", err)
	}
	return os.NewFile(uintptr(open), "folder"), nil
}
