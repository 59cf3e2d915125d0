package namespace

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// AsOwner calls f in a thread that makes files which belong to a user and a group of the host, with all the program's capabilities
// still: on a mount that shows other owners only somebody who is among those can make anything. f must do its work itself,
// not in other goroutines. It takes root.
func AsOwner(uid, gid uint32, f func() error) error {
	return thread.Run(func() error {
		if err := SetOwner(uid, gid); err != nil {
			return err
		}
		return f()
	})
}

// SetOwner does to the calling thread, which the caller has locked and throws away, what AsOwner does.
func SetOwner(uid, gid uint32) error {
	if _, err := unix.SetfsgidRetGid(int(gid)); err != nil {
		return os.NewSyscallError("setfsgid", err)
	}
	if _, err := unix.SetfsuidRetUid(int(uid)); err != nil {
		return os.NewSyscallError("setfsuid", err)
	}
	// The kernel takes the capabilities over files out of the effective set with the user.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	data[0].Effective, data[1].Effective = data[0].Permitted, data[1].Permitted
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}
