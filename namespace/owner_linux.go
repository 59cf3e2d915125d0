package namespace

import (
	"fmt"
	"os"
	"strings"

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
	if err := setFS("setfsgid", unix.SetfsgidRetGid, gid); err != nil {
		return err
	}
	if err := setFS("setfsuid", unix.SetfsuidRetUid, uid); err != nil {
		return err
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

// setFS sets an id by a call that returns the one before and says nothing of a failure: asked again, it says whether it is the new one.
func setFS(name string, call func(id int) (int, error), id uint32) error {
	var was int
	for range 2 {
		var err error
		if was, err = call(int(id)); err != nil {
			return os.NewSyscallError(name, err)
		}
	}
	if uint32(was) != id {
		return noOwner(name, id, nil)
	}
	return nil
}

// noOwner says that nobody has the id in the user namespace, whose map is given if it is known.
func noOwner(name string, id uint32, maps []IDMapping) error {
	if maps == nil {
		return fmt.Errorf("%s %d: %w: the user namespace's map has no such id", name, id, unix.EINVAL)
	}
	var have []string
	for _, m := range maps {
		have = append(have, fmt.Sprintf("%d to %d", m.ContainerID, uint64(m.ContainerID)+uint64(m.Size)-1))
	}
	return fmt.Errorf("%s %d: %w: the user namespace's map has %s", name, id, unix.EINVAL, strings.Join(have, ", "))
}
