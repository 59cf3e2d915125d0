package layer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// Options of every overlay. Layers and uppers are not to be trusted: no file may stand for another by an attribute
// (metacopy), nor a folder (redirect_dir); and an upper may be used again over other layers' copies (index).
var overlayOptions = [][2]string{{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}}

// oldMount makes Mount take the way of kernels without lowerdir+; for tests.
var oldMount bool

// mount returns a descriptor of the detached overlay.
func (v *overlay) mount() (fd int, err error) {
	if v.user != nil {
		if fd, err = v.mountByDeputy(); err != nil {
			return -1, v.explain(err)
		}
		return fd, nil
	}
	appends, err := appendsLower()
	if err != nil {
		return -1, err
	}
	if appends && !oldMount && v.owners == nil {
		fd, err = v.mountNew()
		if (v.memory != 0 || len(v.images) > 0) && errors.Is(err, unix.EINVAL) { // Linux < 6.15 takes nothing that is attached nowhere
			fd, err = v.mountOld()
		}
	} else {
		fd, err = v.mountOld()
	}
	if err != nil {
		return -1, v.explain(err)
	}
	return fd, nil
}

var lowerProbe struct {
	sync.Mutex
	known, appends bool
}

// appendsLower says whether overlayfs takes its lower folders one by one (lowerdir+, Linux 6.8). Older kernels refuse
// the name or, before 6.5, take any name and look at it later. Only a sure answer is kept.
func appendsLower() (bool, error) {
	lowerProbe.Lock()
	defer lowerProbe.Unlock()
	if lowerProbe.known {
		return lowerProbe.appends, nil
	}
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	switch {
	case errors.Is(err, unix.ENODEV):
		return false, fmt.Errorf("overlayfs is not in this kernel (CONFIG_OVERLAY_FS; modprobe overlay): %w: %w",
			err, errors.ErrUnsupported)
	case errors.Is(err, unix.EPERM):
		return false, fmt.Errorf("fsopen overlay: %w", hint(err, "it takes root"))
	case err != nil:
		return false, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fd)
	takes := unix.FsconfigSetString(fd, "lowerdir+", "/") == nil
	takesAny := unix.FsconfigSetFlag(fd, "no-such-option") == nil
	lowerProbe.known, lowerProbe.appends = true, takes && !takesAny
	return lowerProbe.appends, nil
}

// mountNew is the way of Linux 6.8: nothing is ever attached anywhere.
func (v *overlay) mountNew() (int, error) {
	ctx, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(ctx)
	set := func(key, value string) error {
		if err := unix.FsconfigSetString(ctx, key, value); err != nil {
			return fmt.Errorf("overlay option %s=%s: %w%s", key, value, err, fsLog(ctx))
		}
		return nil
	}
	// The name that mountinfo(5) shows.
	if err := set("source", "overlay"); err != nil {
		return -1, err
	}
	for _, o := range overlayOptions {
		if err := set(o[0], o[1]); err != nil {
			return -1, err
		}
	}
	if userXattrs() {
		if err := unix.FsconfigSetFlag(ctx, "userxattr"); err != nil {
			return -1, fmt.Errorf("overlay option userxattr (Linux 5.11): %w%s", err, fsLog(ctx))
		}
	}
	dirs := make([][2]string, 0, len(v.lower)+2)
	for _, d := range v.lower {
		dirs = append(dirs, [2]string{"lowerdir+", d})
	}
	if v.upper != "" {
		dirs = append(dirs, [2]string{"upperdir", v.upper}, [2]string{"workdir", v.work})
	}
	for _, d := range dirs {
		if err := setFolder(d[0], d[1], set); err != nil {
			return -1, err
		}
	}
	if v.volatile {
		if err := unix.FsconfigSetFlag(ctx, "volatile"); err != nil {
			return -1, fmt.Errorf("overlay option volatile: %w%s", err, fsLog(ctx))
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("make overlay: %w%s", err, fsLog(ctx))
	}
	flags := 0
	if v.readOnly {
		flags = unix.MOUNT_ATTR_RDONLY
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return -1, fmt.Errorf("fsmount overlay: %w%s", err, fsLog(ctx))
	}
	return fd, nil
}

// setFolder passes a folder to overlayfs. A path that is longer than an option's value can be, 255 bytes, or that has
// bytes that mean something in one, is passed as a descriptor's.
func setFolder(key, path string, set func(key, value string) error) error {
	if len(path) <= 255 && !strings.ContainsAny(path, `\,:`) {
		return set(key, path)
	}
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := set(key, "/proc/self/fd/"+strconv.Itoa(int(f.Fd()))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// fsLog returns what the kernel has to say of a file system that it did not make.
func fsLog(ctx int) string {
	var b strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(ctx, buf)
		if err != nil || n <= 0 || b.Len() > len(buf) {
			return b.String()
		}
		b.WriteString(": " + strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "e ")))
	}
}

// mountOld is the way of older kernels: mount(2), whose options end at a page, in a mount namespace of a thread that is
// thrown away, with short names; then a detached clone.
func (v *overlay) mountOld() (fd int, err error) {
	err = thread.Run(func() (err error) {
		fd, err = v.mountHere()
		return err
	})
	return fd, err
}

func (v *overlay) mountHere() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("unshare: %w", hint(err, "it takes root"))
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, fmt.Errorf("make mounts private: %w", err)
	}
	tmp, err := v.newTmpfs()
	if err != nil {
		return -1, err
	}
	defer unix.Close(tmp)
	// mount(2) wants a place in the namespace. Nothing is looked up through the old root's top.
	if err := unix.MoveMount(tmp, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return -1, fmt.Errorf("attach tmpfs: %w", err)
	}
	if err := unix.Fchdir(tmp); err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(tmp, "merged", 0o700); err != nil {
		return -1, err
	}
	link := func(i int, dir string) (string, error) {
		name := strconv.FormatInt(int64(i), 36)
		if is, err := v.attachImage(tmp, name, dir); is {
			return name, err
		}
		if v.owners != nil {
			return name, v.attachOwned(tmp, name, dir)
		}
		return name, unix.Symlinkat(dir, tmp, name)
	}
	names := make([]string, len(v.lower), len(v.lower)+2)
	for i, d := range v.lower {
		if names[i], err = link(i, d); err != nil {
			return -1, err
		}
	}
	options := "lowerdir=" + strings.Join(names, ":")
	for _, o := range overlayOptions {
		options += "," + o[0] + "=" + o[1]
	}
	if userXattrs() {
		options += ",userxattr"
	}
	if v.memory != 0 {
		if err := v.inheritRoot("upper", v.lower[0], false); err != nil {
			return -1, err
		}
		options += ",upperdir=upper,workdir=work"
	} else if v.upper != "" {
		upper, work, err := v.linkUpper(link)
		if err != nil {
			return -1, err
		}
		options += ",upperdir=" + upper + ",workdir=" + work
	}
	if v.volatile {
		options += ",volatile"
	}
	flags := uintptr(0)
	if v.readOnly {
		flags = unix.MS_RDONLY
	}
	if err := v.asOwner(); err != nil {
		return -1, err
	}
	if err := unix.Mount("overlay", "merged", "overlay", flags, options); err != nil {
		return -1, fmt.Errorf("mount overlay: %w", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "merged", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("clone overlay: %w", err)
	}
	return fd, nil
}

// explain adds what is known to make overlayfs refuse.
func (v *overlay) explain(err error) error {
	if errors.Is(err, unix.EPERM) && v.user == nil {
		return hint(err, "it takes root")
	}
	for _, d := range v.lower {
		if _, serr := os.Stat(d); serr != nil {
			return fmt.Errorf("%w: %w", err, serr)
		}
	}
	if v.upper == "" {
		return err
	}
	var u, w unix.Stat_t
	if unix.Stat(v.upper, &u) == nil && unix.Stat(v.work, &w) == nil && u.Dev != w.Dev {
		return &hinted{err, "upper and work folder must be on the same file system"}
	}
	var st unix.Statfs_t
	switch serr := unix.Statfs(v.upper, &st); {
	case serr != nil:
		return err
	case st.Type == unix.OVERLAYFS_SUPER_MAGIC:
		return &hinted{err, "upper folder " + v.upper + " is on an overlay, which overlayfs cannot write to: " +
			"use a folder on ext4, xfs, btrfs or tmpfs, such as a volume"}
	case st.Flags&unix.ST_RDONLY != 0:
		return &hinted{err, "upper folder " + v.upper + " is on a read-only file system"}
	case errors.Is(err, unix.EBUSY):
		return &hinted{err, "upper or work folder is in use by another mount"}
	case errors.Is(err, unix.EINVAL):
		return &hinted{err, "overlayfs may not take the file system of upper folder " + v.upper +
			": use a folder on ext4, xfs, btrfs or tmpfs"}
	}
	return err
}
