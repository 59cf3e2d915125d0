package layer

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

func (o *MountOptions) checkMemory() error {
	switch {
	case o.InMemory == 0:
		return nil
	case o.InMemory < int64(os.Getpagesize()):
		return fmt.Errorf("InMemory: %d bytes are less than a page", o.InMemory)
	case o.Upper != "" || o.ReadOnly:
		return errors.New("InMemory: it is the upper folder, which Upper and ReadOnly say is another or none")
	case o.Copy != CopyNever:
		return errors.New("InMemory: a copy is not made in memory")
	case len(o.UIDMappings)+len(o.GIDMappings) > 0:
		return fmt.Errorf("InMemory: with mapped owners: %w", errors.ErrUnsupported)
	case !namespace.Privileged():
		return fmt.Errorf("InMemory: without root: %w", errors.ErrUnsupported)
	}
	return nil
}

// inMemory names the upper and the work folder in a new tmpfs that is attached nowhere, whose descriptor it returns: it is
// needed until the overlay is made.
func (v *overlay) inMemory() (int, error) {
	fd, err := v.newTmpfs()
	if err != nil {
		return -1, err
	}
	dir := "/proc/self/fd/" + strconv.Itoa(fd)
	v.upper, v.work = dir+"/upper", dir+"/work"
	return fd, nil
}

// newTmpfs makes a tmpfs that is attached nowhere: with v.memory it has that size, and holds the upper and the work folder.
func (v *overlay) newTmpfs() (int, error) {
	ctx, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(ctx)
	if v.memory != 0 {
		if err := unix.FsconfigSetString(ctx, "size", strconv.FormatInt(v.memory, 10)); err != nil {
			return -1, fmt.Errorf("tmpfs of %d bytes: %w%s", v.memory, err, fsLog(ctx))
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("make tmpfs: %w", err)
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("fsmount tmpfs: %w", err)
	}
	if v.memory == 0 {
		return fd, nil
	}
	for _, name := range []string{"upper", "work"} {
		if err := unix.Mkdirat(fd, name, 0o700); err != nil {
			return -1, errors.Join(fmt.Errorf("mkdir %s in tmpfs: %w", name, err), unix.Close(fd))
		}
	}
	return fd, nil
}
