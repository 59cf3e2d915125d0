package layer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
)

// A copy in the place of an overlay: Upper holds the whole tree. It is made in Work, so that what was killed is begun
// anew, then marked there, then moved.
const (
	copyingName = "copying"
	copiedName  = "copied"
)

// Copied says whether the Upper that belongs to this Work holds the whole tree, because [Mount] had to copy, and not only
// what was changed: [Diff] must then be told of the layers below by [DiffOptions].Lower.
func Copied(work string) bool {
	_, err := os.Lstat(filepath.Join(work, copiedName))
	return work != "" && err == nil
}

// wantsCopy says whether the options allow to copy after an overlay failed so.
func (o *MountOptions) wantsCopy(err error) bool {
	if o.Copy != CopyFallback {
		return false
	}
	if o.Upper != "" {
		if f, err := os.Open(o.Upper); err == nil {
			defer f.Close()
			if there, _ := f.Readdirnames(1); len(there) > 0 {
				return false // an overlay's changes, which a copy would not show
			}
		}
	}
	for _, e := range []error{errors.ErrUnsupported, unix.ENODEV, unix.EPERM, unix.EINVAL, unix.EOPNOTSUPP, unix.EACCES} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// mountCopy makes the root file system by copying.
func mountCopy(ctx context.Context, layers []Layer, o *MountOptions) (_ *namespace.Root, err error) {
	v := &overlay{}
	if namespace.Privileged() {
		if err := v.mapOwners(o); err != nil {
			return nil, err
		}
	}
	if v.owners != nil {
		defer v.owners.Close()
	}
	var made undo
	defer func() {
		if err != nil {
			err = errors.Join(err, made.run())
		}
	}()
	given := ownersBy(ctx, o.UIDMappings, o.GIDMappings)
	defer func() { err = errors.Join(err, given.close()) }()
	dir := o.Upper
	if dir == "" {
		base, err := scratch(ctx, layers[len(layers)-1].scratch, &made)
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(base, "copy")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		if err := copyLayers(ctx, layers, dir, given); err != nil {
			return nil, err
		}
	} else if err := copyUpper(ctx, layers, o, given); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if !o.ReadOnly && o.Target == "" && v.owners == nil {
		return namespace.Detached(nil, dir, made.run), nil
	}
	fd, err := v.bind(dir, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "copy")
	if o.Target == "" {
		return namespace.Detached(f, "copy of "+cmp.Or(layers[len(layers)-1].Dir, layers[len(layers)-1].Image), made.run), nil
	}
	defer f.Close()
	if err := attach(fd, o.Target); err != nil {
		return nil, err
	}
	made.add(func() error { return detach(o.Target) })
	return namespace.Detached(nil, o.Target, made.run), nil
}

// copyUpper fills o.Upper, unless it is filled.
func copyUpper(ctx context.Context, layers []Layer, o *MountOptions, given *owners) (err error) {
	if err := os.Mkdir(o.Work, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	from := filepath.Join(o.Work, copyingName)
	if Copied(o.Work) {
		// Moved already, unless the machine stopped between the two.
		if err := given.rename(from, o.Upper); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := namespace.RemoveAll(from); err != nil {
		return err
	}
	if err := os.Mkdir(from, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, namespace.RemoveAll(from))
		}
	}()
	if err := copyLayers(ctx, layers, from, given); err != nil {
		return err
	}
	if err := syncFileSystem(from); err != nil {
		return err
	}
	// An Upper with something in it, such as an overlay's changes, stays as it is.
	if err := os.Remove(o.Upper); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("a copy of the layers takes the place of the upper folder, which is not empty: %w", err)
	}
	mark := filepath.Join(o.Work, copiedName)
	if err := durable.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	if err := given.rename(from, o.Upper); err != nil {
		return errors.Join(err, os.Remove(mark))
	}
	return durable.SyncDir(filepath.Dir(o.Upper))
}

func syncFileSystem(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", path, err)
	}
	return nil
}

// bind returns a detached mount of a folder, whose files' owners are shown as v.owners has them.
func (v *overlay) bind(dir string, readOnly bool) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("clone %s: %w", dir, hint(err, "it takes root"))
	}
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if v.owners != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(v.owners.Fd())
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("set the attributes of a mount of %s (Linux ≥ 5.12): %w", dir, err)
	}
	return fd, nil
}
