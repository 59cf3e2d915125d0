package testenv

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// NewNetns makes a network namespace with loopback, up, and nothing else, and returns a path of it that other processes can
// open as long as the test runs: what tests do to a host's network they do there.
func NewNetns(t testing.TB) string {
	t.Helper()
	RequireRoot(t)
	path, f, err := netns()
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return path
}

// MustNetns is NewNetns for a TestMain: the namespace lives as long as the process. It is "" without root.
func MustNetns() string {
	if os.Geteuid() != 0 {
		return ""
	}
	path, _, err := netns()
	if err != nil {
		panic(err)
	}
	return path
}

// kept keeps the garbage collector from closing what MustNetns opened.
var kept []*os.File

func netns() (path string, f *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			runtime.UnlockOSThread()
			path, f, err = netnsElsewhere()
			return
		}
		f, err = unshareNetns()
	}()
	<-done
	if f != nil {
		kept = append(kept, f)
		path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	}
	return path, f, err
}

// netnsElsewhere makes it on another thread while this one, the program's first, is taken.
func netnsElsewhere() (path string, f *os.File, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return netns()
}

func unshareNetns() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, os.NewSyscallError("ioctl", err)
	}
	return os.Open("/proc/thread-self/ns/net")
}
