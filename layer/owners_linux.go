package layer

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// attachOwned attaches a folder's clone, with its files' owners shown as v.owners has them, at a new folder of dir.
func (v *overlay) attachOwned(dir int, name, folder string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone %s: %w", folder, err)
	}
	defer unix.Close(fd)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(v.owners.Fd())}
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr)
	switch {
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("idmapped layers take Linux 5.19 or newer, and a file system that can show other owners (ext4, xfs, "+
			"btrfs; tmpfs on Linux 6.3): %s: %w: %w", folder, err, errors.ErrUnsupported)
	case err != nil:
		return fmt.Errorf("map the owners of %s: %w", folder, err)
	}
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach %s: %w", folder, err)
	}
	return nil
}

// linkUpper makes the names of the upper and the work folder. With mapped owners they lie in one mount, as overlayfs wants
// it: that of the folder they are in.
func (v *overlay) linkUpper(link func(i int, dir string) (string, error)) (upper, work string, err error) {
	if v.owners == nil {
		if upper, err = link(len(v.lower), v.upper); err == nil {
			work, err = link(len(v.lower)+1, v.work)
		}
		return upper, work, err
	}
	dir := filepath.Dir(v.upper)
	if filepath.Dir(v.work) != dir {
		return "", "", errors.New("with mapped owners, Upper and Work must lie in one folder")
	}
	name, err := link(len(v.lower), dir)
	// Their names may mean something in an option's value.
	upper, work = filepath.Join(name, filepath.Base(v.upper)), filepath.Join(name, filepath.Base(v.work))
	return escape(upper), escape(work), err
}

// asOwner makes the calling thread, which is thrown away, root of v.owners for file systems, with all its capabilities
// still: an overlay writes to its upper as whoever has mounted it, who must be somebody there.
func (v *overlay) asOwner() error {
	if v.owners == nil {
		return nil
	}
	return namespace.SetOwner(v.ownerUID, v.ownerGID)
}

// escape writes a path so that it is one in an option of mount(2).
func escape(path string) string {
	b := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] == ',' || path[i] == '\\' || path[i] == ':' {
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}
