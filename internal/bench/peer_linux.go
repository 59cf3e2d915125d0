package bench

import (
	"runtime"
	"syscall"
)

// WithoutUnified returns a function that calls others on a thread whose mounts have no unified hierarchy, since crun
// refuses a host with both kinds.
func WithoutUnified() func(func() error) error {
	calls, results := make(chan func() error), make(chan error)
	var serve func()
	serve = func() {
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() { // the first thread's mounts are the whole program's in /proc/self
			go serve()
			select {}
		}
		err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_FS)
		if err == nil {
			err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		}
		if err == nil {
			_ = syscall.Unmount("/sys/fs/cgroup/unified", syscall.MNT_DETACH)
		}
		for f := range calls {
			if err == nil {
				results <- f()
			} else {
				results <- err
			}
		}
	}
	go serve()
	return func(f func() error) error { calls <- f; return <-results }
}
