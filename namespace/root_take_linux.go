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

// Owner is the user that the root's folder belongs to on the host. ok is false for a detached mount.
func (r *Root) Owner() (uid uint32, ok bool) {
	var st unix.Stat_t
	if r.mount != nil || unix.Stat(r.path, &st) != nil {
		return 0, false
	}
	return st.Uid, true
}
