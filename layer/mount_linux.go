package layer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// maxLayers is OVL_MAX_STACK of the kernel.
const maxLayers = 500

// Mount mounts the layers, the lowest first as images list them, as one root file system: an overlay. What the
// container writes goes to o.Upper. The Root's Close removes what Mount made; call it when no container uses the Root
// any more.
//
// Where an overlay cannot be had, o.Copy may allow a copy of the layers in its place.
//
// It fails when there are no layers, or more than 500. An error satisfies errors.ErrUnsupported when the kernel has no
// overlayfs. ctx bounds a copy; for an overlay it is looked at before the start: the calls cannot be ended.
func Mount(ctx context.Context, layers []Layer, o *MountOptions) (*namespace.Root, error) {
	root, err := mount(ctx, layers, o)
	if err != nil {
		return nil, fmt.Errorf("mount layers: %w", err)
	}
	return root, nil
}

func mount(ctx context.Context, layers []Layer, o *MountOptions) (*namespace.Root, error) {
	if o == nil {
		o = &MountOptions{}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case len(layers) == 0:
		return nil, errors.New("there are none")
	case (o.Upper == "") != (o.Work == ""):
		return nil, errors.New("set both Upper and Work, or none")
	case o.ReadOnly && o.Upper != "":
		return nil, errors.New("a read-only one has no Upper")
	case o.ReadOnly && o.Volatile:
		return nil, errors.New("nothing is written to a read-only one: no Volatile")
	}
	if err := o.checkMemory(); err != nil {
		return nil, err
	}
	if o.Copy == CopyAlways || Copied(o.Work) {
		return mountCopy(ctx, layers, o)
	}
	root, err := mountOverlay(ctx, layers, o)
	if err != nil && o.wantsCopy(err) {
		copied, err2 := mountCopy(ctx, layers, o)
		if err2 != nil {
			return nil, errors.Join(err, err2)
		}
		return copied, nil
	}
	return root, err
}

func mountOverlay(ctx context.Context, layers []Layer, o *MountOptions) (_ *namespace.Root, err error) {
	v := &overlay{readOnly: o.ReadOnly, upper: o.Upper, work: o.Work, noKeep: o.NoKeep, memory: o.InMemory, volatile: o.Volatile, again: o.Volatile && o.Upper != ""}
	if err := v.mapOwners(o); err != nil {
		return nil, err
	}
	if v.owners != nil {
		defer v.owners.Close()
	}
	if v.user = newOwners(ctx); v.user != nil {
		if v.owners != nil || o.Target != "" {
			return nil, fmt.Errorf("mounting with Target, UIDMappings or GIDMappings takes root: %w", os.ErrPermission)
		}
		defer func() { err = errors.Join(err, v.user.close()) }()
	}
	defer v.closeImages()
	if err := v.stack(ctx, layers); err != nil {
		return nil, err
	}
	var made, failed undo // for Root.Close; when it fails
	defer func() {
		if err != nil {
			err = errors.Join(err, failed.run(), made.run())
		}
	}()
	if o.InMemory != 0 {
		tmpfs, err := v.inMemory()
		if err != nil {
			return nil, err
		}
		defer unix.Close(tmpfs) // the overlay has a mount of it
	}
	if err := v.prepare(ctx, layers[len(layers)-1].scratch, &made); err != nil {
		return nil, err
	}
	if err := v.makeUpper(&failed); err != nil {
		return nil, err
	}
	fd, err := v.mount()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "overlay")
	if o.Target == "" {
		root := namespace.Detached(f, v.name, made.run)
		return root, v.inUserNamespace(root)
	}
	defer f.Close()
	if err := attach(fd, o.Target); err != nil {
		return nil, err
	}
	made.add(func() error { return detach(o.Target) })
	return namespace.Detached(nil, o.Target, made.run), nil
}

// mapOwners makes the user namespace whose ids the files are to show, if the options ask for one.
func (v *overlay) mapOwners(o *MountOptions) error {
	if len(o.UIDMappings)+len(o.GIDMappings) == 0 {
		return nil
	}
	owners, err := namespace.NewUserNamespace(o.UIDMappings, o.GIDMappings)
	if err != nil {
		return err
	}
	uid, ok := namespace.HostID(o.UIDMappings, 0)
	gid, ok2 := namespace.HostID(o.GIDMappings, 0)
	if !ok || !ok2 {
		return errors.Join(errors.New("UIDMappings and GIDMappings must map 0"), owners.Close())
	}
	v.owners, v.ownerUID, v.ownerGID = owners, uid, gid
	return nil
}

// undo is a list of what to take back, the last first.
type undo []func() error

func (u *undo) add(f func() error) { *u = append(*u, f) }

func (u *undo) run() error {
	var err error
	for i := len(*u) - 1; i >= 0; i-- {
		err = errors.Join(err, (*u)[i]())
	}
	*u = nil
	return err
}

// An overlay is what an overlay mount is made of.
type overlay struct {
	name               string   // for messages
	lower              []string // the topmost first, absolute
	images             []lowerImage
	upper, work        string // "" when read-only
	readOnly           bool
	ownerUID, ownerGID uint32   // its root
	owners             *os.File // the user namespace whose ids the files show, or nil
	user               *owners  // an ordinary user's, or nil
	noKeep             bool     // make nothing that stays
	memory             int64    // the size of what upper is in, if that is memory
	volatile           bool     // upper is thrown away: nothing in it needs to be synced
	again              bool     // it may have been mounted so before
}

// stack sets the lower folders: those from the top down to the first that hides the rest, below what the list of them
// needs on top.
func (v *overlay) stack(ctx context.Context, layers []Layer) error {
	var used []Layer
	for i := len(layers) - 1; i >= 0; i-- {
		used = append(used, layers[i])
		if layers[i].Opaque {
			break
		}
	}
	// Folders of the caller's own above those of the store, such as another overlay's upper, say all of theirs.
	own := used
	for len(own) > 0 && own[0].scratch == "" {
		own = own[1:]
	}
	top, err := chain(ctx, own, v.noKeep)
	if err != nil {
		return err
	}
	for i, l := range used {
		if i == len(used)-len(own) && top != "" {
			v.lower = append(v.lower, top)
		}
		dir, err := v.lowerPath(&l)
		if err != nil {
			return err
		}
		v.lower = append(v.lower, dir)
	}
	if len(v.lower) > maxLayers {
		return fmt.Errorf("%d are too many: overlayfs takes %d", len(v.lower), maxLayers)
	}
	v.name = "overlay of " + cmp.Or(used[0].Image, v.lower[0])
	return nil
}

// prepare makes the temporary folders that the mount needs beside the layers.
func (v *overlay) prepare(ctx context.Context, store string, made *undo) error {
	if v.upper != "" || v.readOnly && len(v.lower) > 1 {
		return nil
	}
	dir, err := scratch(ctx, store, made)
	if err != nil {
		return err
	}
	if v.readOnly {
		// Overlayfs wants two lower folders. An empty one below hides whiteouts, which a bind mount would show.
		v.lower = append(v.lower, filepath.Join(dir, "empty"))
		return os.Mkdir(filepath.Join(dir, "empty"), impliedMode)
	}
	v.upper, v.work, v.volatile = filepath.Join(dir, "upper"), filepath.Join(dir, "work"), true
	return nil
}

// makeUpper makes the folders that the overlay writes to, unless they are there.
func (v *overlay) makeUpper(made *undo) error {
	if v.upper == "" {
		return nil
	}
	if v.memory != 0 {
		return v.inheritRoot(v.upper, v.lower[0], true)
	}
	fresh := false
	for _, d := range []*string{&v.work, &v.upper} {
		abs, err := filepath.Abs(*d)
		if err != nil {
			return err
		}
		*d, fresh = abs, false
		if err := os.Mkdir(abs, 0o700); err == nil {
			fresh = true
			made.add(func() error { return namespace.RemoveAll(abs) })
		} else if !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if v.again { // a mark of the mount before, which may not be mounted again, as it may have lost something
		if err := namespace.RemoveAll(filepath.Join(v.work, "work", "incompat", "volatile")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return v.inheritRoot(v.upper, v.lower[0], fresh)
}

// scratch makes a temporary folder: in the store that the layer is of, where it is swept after a crash.
func scratch(ctx context.Context, store string, made *undo) (string, error) {
	if store != "" {
		t, err := newTemp(ctx, store)
		if err != nil {
			return "", err
		}
		made.add(t.remove)
		return t.path, nil
	}
	dir, err := os.MkdirTemp("", "caisson-mount-")
	if err != nil {
		return "", err
	}
	made.add(func() error { return removeScratch(dir) })
	return dir, nil
}

// removeScratch deletes the folder of an overlay's upper and work folder. Mostly there is nothing in them but what overlayfs
// itself has made: that goes by name, in a fifth of the system calls of a walk.
func removeScratch(dir string) error {
	_ = unix.Unlink(dir + "/work/work/incompat/volatile/dirty")
	for _, d := range []string{"/work/work/incompat/volatile", "/work/work/incompat", "/work/work", "/work", "/upper"} {
		_ = unix.Rmdir(dir + d) // what is not empty is left to the walk
	}
	if unix.Rmdir(dir) == nil {
		return nil
	}
	return namespace.RemoveAll(dir)
}

// inheritRoot gives an empty upper folder the owner and mode of the layers' root: the overlay's root has the upper's. A fresh
// one is known to be empty.
func (v *overlay) inheritRoot(upper, lower string, fresh bool) error {
	fd, err := v.user.open(unix.AT_FDCWD, upper, openDir)
	if err != nil {
		return fmt.Errorf("open %s: %w", upper, err)
	}
	f := os.NewFile(uintptr(fd), upper)
	defer f.Close()
	if !fresh {
		if names, err := f.Readdirnames(1); len(names) > 0 {
			return err
		}
	}
	var st, own unix.Stat_t
	if err := unix.Lstat(lower, &st); err != nil {
		return fmt.Errorf("stat %s: %w", lower, err)
	}
	if err := unix.Fstat(fd, &own); err != nil {
		return fmt.Errorf("stat %s: %w", upper, err)
	}
	uid, gid := v.user.container(&st, nil)
	changed, err := v.user.chown(fd, &own, uid, gid)
	if err != nil {
		return fmt.Errorf("chown %s: %w", upper, err)
	}
	if err := v.user.chmod(fd, st.Mode&0o7777, changed); err != nil {
		return fmt.Errorf("chmod %s: %w", upper, err)
	}
	return nil
}

// attach puts a detached mount at a folder of the host, without a peer anywhere.
func attach(fd int, target string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach at %s: %w", target, err)
	}
	if err := unix.Mount("", target, "", unix.MS_PRIVATE, ""); err != nil {
		return errors.Join(fmt.Errorf("make %s private: %w", target, err), detach(target))
	}
	return nil
}

func detach(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}
