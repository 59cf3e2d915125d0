package testenv

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
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
	err = thread.Run(func() (err error) {
		f, err = unshareNetns()
		return err
	})
	if f != nil {
		kept = append(kept, f)
		path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	}
	return path, f, err
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
