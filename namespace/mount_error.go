package namespace

import (
	"fmt"
	"syscall"
)

// A MountError says which mount an error of a start is about. It is the cause in a [*StartError].
type MountError struct {
	// Index is the mount's place in [Launch.Mounts], and Target its target as it is there.
	Index  int
	Target string
	// Err is the cause, most often a syscall.Errno.
	Err error
}

func (e *MountError) Error() string {
	return fmt.Sprintf("mount %d at %s: %v", e.Index, e.Target, e.Err)
}

// Unwrap returns the cause.
func (e *MountError) Unwrap() error { return e.Err }

// mountError says that the error of a step is about a mount, if it is: n is its place, counted from one. A file that is to be mounted on a
// folder, or a folder on a file, is "not a directory".
func (l *Launch) mountError(n int32, step string, err error) error {
	if n <= 0 || int(n) > len(l.Mounts) {
		return err
	}
	if step == "move_mount" && err == syscall.EINVAL { // what mount(2) says; nothing else that is invalid is moved here
		err = syscall.ENOTDIR
	}
	return &MountError{Index: int(n) - 1, Target: l.Mounts[n-1].Target, Err: err}
}
