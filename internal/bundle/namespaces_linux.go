package bundle

import (
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// checkNamespace asks the kernel what a file is.
func checkNamespace(f *os.File, kind specs.LinuxNamespaceType) error {
	const getType = 0xb703 // NS_GET_NSTYPE
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var is int
	if e := c.Control(func(fd uintptr) { is, err = unix.IoctlRetInt(int(fd), getType) }); e != nil {
		return e
	}
	want := map[specs.LinuxNamespaceType]int{
		specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.IPCNamespace: unix.CLONE_NEWIPC,
		specs.UTSNamespace: unix.CLONE_NEWUTS, specs.CgroupNamespace: unix.CLONE_NEWCGROUP, specs.UserNamespace: unix.CLONE_NEWUSER,
		specs.TimeNamespace: unix.CLONE_NEWTIME, specs.MountNamespace: unix.CLONE_NEWNS,
	}[kind]
	if err != nil || is != want {
		return fmt.Errorf("%s is not a namespace of the type %s", f.Name(), kind)
	}
	return nil
}
