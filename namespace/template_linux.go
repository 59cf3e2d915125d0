package namespace

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// The template is a mount namespace that holds one empty read-only tmpfs and nothing else. A new process enters it, copies
// it and puts its root over that tmpfs: so nothing of the host's mounts is ever in a container's namespace, and there is
// no old root to be unmounted, which is what pivot_root(2) costs. It is made with the first start and lives as long as
// the program: one descriptor. So is a mount with /dev/null, with the first start that takes it for a standard file.
//
// That for user namespaces, made with the first start in one, has a proc and a sysfs besides: the kernel lets nobody mount
// these there who has not got another in sight. Its copies are left by pivot_root, after all.
var template, userTemplate struct {
	sync.Mutex
	fd   int // of /proc/PID/ns/mnt; 0 is not made yet
	null int // of a detached mount; 0 is not made yet
}

// templateNamespace returns the template's descriptor.
func templateNamespace() (int, error) {
	template.Lock()
	defer template.Unlock()
	return onceTemplate(&template.fd, false)
}

// userTemplateNamespace returns the descriptor of the template for user namespaces.
func userTemplateNamespace() (int, error) {
	userTemplate.Lock()
	defer userTemplate.Unlock()
	return onceTemplate(&userTemplate.fd, true)
}

func onceTemplate(fd *int, user bool) (int, error) {
	if *fd != 0 {
		return *fd, nil
	}
	err := thread.Run(func() error {
		made, err := makeTemplate(user)
		if err == nil {
			*fd = made
		}
		return err
	})
	if err != nil {
		return -1, err
	}
	return *fd, nil
}

// makeTemplate turns the calling thread's mount namespace into the template, or that for user namespaces.
func makeTemplate(user bool) (fd int, err error) {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &StartError{Step: "open", Path: "/proc", Err: err}
	}
	defer unix.Close(proc)
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return -1, &StartError{Step: "unshare", Path: "mount namespace", Err: err}
	}
	fd, err = unix.Openat(proc, "thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &StartError{Step: "open", Path: "/proc/thread-self/ns/mnt", Err: err}
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			err = &StartError{Step: "mount", Path: "template namespace", Err: err}
		}
	}()
	// Entering the namespace that we are in leaves a chroot, so that pivot_root finds the namespace's own root.
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return -1, os.NewSyscallError("setns", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, os.NewSyscallError("mount private", err)
	}
	var kernel kernelMounts
	defer kernel.close()
	m, err := -1, error(nil)
	if user {
		if err := kernel.open(); err != nil {
			return -1, err
		}
		m, err = newMount("tmpfs", strict&^unix.MOUNT_ATTR_RDONLY, "source=empty", "mode=555", "nr_inodes=4", "nr_blocks=1")
	} else {
		m, err = newMount("tmpfs", strict, "ro", "source=empty", "mode=555", "nr_inodes=2", "nr_blocks=1")
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(m)
	err = unix.MoveMount(m, "", unix.AT_FDCWD, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH)
	if errors.Is(err, unix.ENOENT) {
		err = unix.MoveMount(m, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return -1, os.NewSyscallError("move_mount", err)
	}
	if err := unix.Fchdir(m); err != nil {
		return -1, os.NewSyscallError("fchdir", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return -1, os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return -1, os.NewSyscallError("umount", err)
	}
	if user {
		return fd, kernel.attach(m)
	}
	return fd, nil
}

// strict is what a mount of the template allows: nothing.
const strict = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// newMount makes a detached mount of a new file system.
func newMount(typ string, attr int, options ...string) (int, error) {
	fs, err := unix.Fsopen(typ, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen "+typ, err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if key, value, ok := strings.Cut(o, "="); ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, o)
		}
		if err != nil {
			return -1, os.NewSyscallError("fsconfig "+o, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig create "+typ, err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	return m, os.NewSyscallError("fsmount "+typ, err)
}

// kernelMounts are the detached mounts of proc and sysfs that the template for user namespaces gets. Where the program may
// not make one, as in a container that sees only a part of them, it has none, and the mount of a container's own says so.
type kernelMounts [2]int

func (k *kernelMounts) open() error {
	for i, typ := range [...]string{"proc", "sysfs"} {
		fd, err := newMount(typ, strict&^unix.MOUNT_ATTR_RDONLY, "source="+typ)
		if errors.Is(err, unix.EPERM) {
			// The program's PID or network namespace is another user namespace's: the mount that it sees is a model, too.
			fd, err = unix.OpenTree(unix.AT_FDCWD, [...]string{"/proc", "/sys"}[i],
				unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
			if err != nil { // there is none: the containers get none
				continue
			}
		}
		if err != nil {
			return err
		}
		k[i] = fd
	}
	return nil
}

func (k *kernelMounts) close() {
	for _, fd := range k {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
}

// attach puts the mounts into the template's root and makes that read-only.
func (k *kernelMounts) attach(root int) error {
	for i, name := range [...]string{"proc", "sys"} {
		if err := unix.Mkdirat(root, name, 0o555); err != nil {
			return os.NewSyscallError("mkdirat", err)
		}
		if k[i] == 0 {
			continue
		}
		if err := unix.MoveMount(k[i], "", root, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return os.NewSyscallError("move_mount", err)
		}
	}
	return os.NewSyscallError("mount_setattr",
		unix.MountSetattr(root, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}
