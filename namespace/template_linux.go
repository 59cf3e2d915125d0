package namespace

import (
	"errors"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// The template is a mount namespace that holds one empty read-only tmpfs and nothing else. A new process enters it, copies
// it and puts its root over that tmpfs: so nothing of the host's mounts is ever in a container's namespace, and there is
// no old root to be unmounted, which is what pivot_root(2) costs. It is made with the first start and lives as long as
// the program: one descriptor.
var template struct {
	sync.Mutex
	fd int // of /proc/PID/ns/mnt; 0 is not made yet
}

// templateNamespace returns the template's descriptor.
func templateNamespace() (int, error) {
	template.Lock()
	defer template.Unlock()
	if template.fd != 0 {
		return template.fd, nil
	}
	fd, err := 0, error(nil)
	onThrowawayThread(func() { fd, err = makeTemplate() })
	if err == nil {
		template.fd = fd
	}
	return fd, err
}

// onThrowawayThread runs f on a thread that ends afterwards, so that f may change what belongs to a thread. That is never
// the program's first thread: Go cannot end it, and /proc/self shows its namespaces as those of the whole program.
func onThrowawayThread(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThrowawayThread(f) // which finds another thread, since this one is taken
			runtime.UnlockOSThread()
		} else {
			f() // locked until the goroutine ends, and the thread with it
		}
		close(done)
	}()
	<-done
}

// makeTemplate turns the calling thread's mount namespace into the template.
func makeTemplate() (fd int, err error) {
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
	m, err := emptyMount()
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
	return fd, nil
}

// emptyMount makes a detached tmpfs that is empty, read-only and has room for nothing.
func emptyMount() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, kv := range [][2]string{{"source", "empty"}, {"mode", "555"}, {"nr_inodes", "2"}, {"nr_blocks", "1"}} {
		if err := unix.FsconfigSetString(fs, kv[0], kv[1]); err != nil {
			return -1, os.NewSyscallError("fsconfig "+kv[0], err)
		}
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return -1, os.NewSyscallError("fsconfig ro", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig create", err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC,
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	return m, os.NewSyscallError("fsmount", err)
}
