package kernel

import (
	"bytes"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// AppArmor is the security module of that name, enabled: its file of a process can be read then.
var AppArmor = &Feature{Name: "AppArmor (built in and enabled: apparmor=1 security=apparmor)", Since: "5.8", Probe: func() error {
	return present(os.ReadFile("/proc/self/attr/apparmor/current"))
}}

// SELinux is the security module of that name, enabled.
var SELinux = &Feature{Name: "SELinux (built in and enabled: selinux=1 security=selinux)", Since: "2.6", Probe: func() error {
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte("\tselinuxfs\n")) {
		return errors.ErrUnsupported
	}
	return present(os.ReadFile("/proc/self/attr/current"))
}}

// present turns the reading of a process's security attribute into a probe's answer.
func present(_ []byte, err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return errors.ErrUnsupported
	}
	return err
}

// LandlockABI is the version of Landlock that the kernel has, as landlock(7) lists them, or 0 if it has none or it is
// disabled.
var LandlockABI = sync.OnceValue(func() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
})
