package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

const (
	imageName = "fs.erofs"
	mkfsErofs = "mkfs.erofs"

	sparseLeast = 64 << 20 // bytes of holes that do not keep a layer from being made an image
)

// Use says how layers that are extracted from now on are kept. It is for the time before the store is used. An error
// satisfies errors.ErrUnsupported when the machine lacks what the format takes.
func (s *Store) Use(f Format) error {
	switch f {
	case Folder:
	case EROFS:
		if err := s.canErofs(); err != nil {
			return fmt.Errorf("layers as EROFS images: %w", err)
		}
	default:
		return fmt.Errorf("layers in format %d: %w", f, unix.EINVAL)
	}
	s.format = f
	return nil
}

func (s *Store) canErofs() error {
	if userXattrs() {
		return fmt.Errorf("mounting them takes root: %w: %w", os.ErrPermission, errors.ErrUnsupported)
	}
	if _, err := exec.LookPath(mkfsErofs); err != nil {
		return fmt.Errorf("%w (install erofs-utils): %w", err, errors.ErrUnsupported)
	}
	// What a file is that no file system is in, only a kernel that mounts files looks.
	probe, err := os.CreateTemp(filepath.Join(s.dir, tempName), "")
	if err != nil {
		return err
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	if err := probe.Truncate(1 << 12); err != nil {
		return err
	}
	fd, err := mountErofs(probe.Name())
	if err == nil {
		_ = unix.Close(fd)
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

// mountErofs returns a detached mount of an image.
func mountErofs(path string) (int, error) {
	ctx, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	switch {
	case errors.Is(err, unix.ENODEV):
		return -1, fmt.Errorf("EROFS is not in this kernel (CONFIG_EROFS_FS; modprobe erofs): %w: %w", err, errors.ErrUnsupported)
	case err != nil:
		return -1, fmt.Errorf("fsopen erofs: %w", hint(err, "it takes root"))
	}
	defer unix.Close(ctx)
	file := path
	if len(path) > 255 {
		f, err := os.Open(path)
		if err != nil {
			return -1, err
		}
		defer f.Close()
		file = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	}
	if err := unix.FsconfigSetString(ctx, "source", file); err != nil {
		return -1, fmt.Errorf("mount %s: %w%s", path, err, fsLog(ctx))
	}
	if err := unix.FsconfigSetFlag(ctx, "ro"); err != nil {
		return -1, fmt.Errorf("mount %s: %w%s", path, err, fsLog(ctx))
	}
	err = unix.FsconfigCreate(ctx)
	switch {
	case errors.Is(err, unix.ENOTBLK):
		return -1, fmt.Errorf("mount %s: EROFS from a file takes Linux ≥ 6.12 (CONFIG_EROFS_FS_BACKED_BY_FILE), and a file system on a disk: %w: %w",
			path, err, errors.ErrUnsupported)
	case err != nil:
		return -1, fmt.Errorf("mount %s: %w%s", path, hint(err, "it takes root"), fsLog(ctx))
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w%s", path, err, fsLog(ctx))
	}
	return fd, nil
}

// pack makes an image of the content in a temporary folder and deletes the content. What is mostly holes it leaves.
func (s *Store) pack(ctx context.Context, dir string, r *record) error {
	if r.Size > 2*r.Usage+sparseLeast {
		return nil
	}
	if err := s.step(mkfsErofs); err != nil {
		return err
	}
	image := filepath.Join(dir, imageName)
	if err := runMkfs(ctx, image, filepath.Join(dir, contentName)); err != nil {
		return err
	}
	// The kernel looks at it before it is the only one.
	fd, err := mountErofs(image)
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		return fmt.Errorf("stat %s: %w", image, err)
	}
	r.Format, r.Usage = EROFS.String(), st.Blocks*512
	return namespace.RemoveAll(filepath.Join(dir, contentName))
}

// runMkfs makes the image of a folder. Nothing of the folder is followed or executed.
func runMkfs(ctx context.Context, image, dir string) error {
	c := exec.CommandContext(ctx, mkfsErofs, image, dir)
	c.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	// It ends with this program, so that what is swept then is written to no more. That follows the thread.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Run(); err != nil {
		err = fmt.Errorf("%s: %w: %.1000s", mkfsErofs, err, bytes.TrimSpace(stderr.Bytes()))
		if full(filepath.Dir(image)) {
			err = hint(fmt.Errorf("%w: %w", err, unix.ENOSPC), "")
		}
		return errors.Join(err, ctx.Err())
	}
	return os.Chmod(image, 0o600)
}

// full says whether the file system of a folder has no room left: programs say so in words only.
func full(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Bavail < 16
}

// isImage says whether the layer is a file with a file system.
func (l *Layer) isImage() bool { return l.Image != "" }

// open opens the layer's topmost folder.
func (l *Layer) open(o *owners) (int, error) {
	if !l.isImage() {
		fd, err := o.open(unix.AT_FDCWD, l.Dir, openDir)
		if err != nil {
			return -1, fmt.Errorf("open %s: %w", l.Dir, err)
		}
		return fd, nil
	}
	mount, err := mountErofs(l.Image)
	if err != nil {
		return -1, err
	}
	defer unix.Close(mount) // what is open in it stays so
	fd, err := openat(mount, ".", openDir, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", l.Image, err)
	}
	return fd, nil
}

// lowerPath returns the path of a layer that goes into an overlay. Of an image it is that of a mount, which v holds.
func (v *overlay) lowerPath(l *Layer) (string, error) {
	if !l.isImage() {
		return filepath.Abs(l.Dir)
	}
	if v.user != nil {
		return "", fmt.Errorf("mounting %s takes root: %w", l.Image, os.ErrPermission)
	}
	fd, err := mountErofs(l.Image)
	if err != nil {
		return "", err
	}
	// Its own folder, not the link of /proc.
	path := fmt.Sprintf("/proc/self/fd/%d/.", fd)
	v.images = append(v.images, lowerImage{os.NewFile(uintptr(fd), l.Image), path})
	return path, nil
}

// A lowerImage is an image's mount among an overlay's lower folders.
type lowerImage struct {
	mount *os.File
	path  string
}

func (v *overlay) closeImages() {
	for _, i := range v.images {
		_ = i.mount.Close() // the overlay has mounts of its own
	}
}

// attachImage attaches an image's mount at a new folder of dir, if path is one's; it can then be mounted on a kernel before
// 6.15, which takes none that is attached nowhere.
func (v *overlay) attachImage(dir int, name, path string) (bool, error) {
	for _, i := range v.images {
		if i.path != path {
			continue
		}
		fd := int(i.mount.Fd())
		if v.owners != nil {
			attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(v.owners.Fd())}
			if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
				return true, fmt.Errorf("map the owners of %s: %w", i.mount.Name(), err)
			}
		}
		if err := unix.Mkdirat(dir, name, 0o700); err != nil {
			return true, err
		}
		if err := unix.MoveMount(fd, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return true, fmt.Errorf("attach %s: %w", i.mount.Name(), err)
		}
		return true, nil
	}
	return false, nil
}
