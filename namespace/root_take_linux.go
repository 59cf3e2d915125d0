package namespace

import "golang.org/x/sys/unix"

// take returns a descriptor of a detached mount that the new process may attach.
func (r *Root) take() (fd int, owned bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return -1, false, ErrRootUsed
	}
	if r.mount == nil {
		fd, err := unix.OpenTree(unix.AT_FDCWD, r.path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		return fd, true, err
	}
	if r.used {
		return -1, false, ErrRootUsed
	}
	fd, err = duplicate(r.mount)
	r.used = err == nil
	return fd, true, err
}
