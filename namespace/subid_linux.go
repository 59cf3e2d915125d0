package namespace

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// OwnMappings returns the maps for a container of the program's own user: its user and group are the container's root, and
// the ids that /etc/subuid and /etc/subgid grant it come after, from 1 on. Without such, or without newuidmap(1) and
// newgidmap(1), the container's root is all there is. For root it is the same.
func OwnMappings() (uids, gids []IDMapping) {
	uids = []IDMapping{{HostID: uint32(unix.Geteuid()), Size: 1}}
	gids = []IDMapping{{HostID: uint32(unix.Getegid()), Size: 1}}
	if mapsByCommand() != nil {
		return uids, gids
	}
	name := strconv.Itoa(unix.Geteuid())
	more, err := subordinate("/etc/subuid", name, 1)
	moreGroups, err2 := subordinate("/etc/subgid", name, 1)
	if err == nil && err2 == nil {
		uids, gids = append(uids, more...), append(gids, moreGroups...)
	}
	return uids, gids
}

// KeepIDMappings returns the maps for a container of an ordinary user's program in which the user and its group have the ids uid and
// gid, and the ids that /etc/subuid and /etc/subgid grant it are all others, from 0 on, as far as they go. Without such, or without
// newuidmap(1) and newgidmap(1), there is no root in it: the error satisfies fs.ErrNotExist or fs.ErrPermission.
func KeepIDMappings(uid, gid uint32) (uids, gids []IDMapping, err error) {
	if err := mapsByCommand(); err != nil {
		return nil, nil, err
	}
	name := strconv.Itoa(unix.Geteuid())
	uids, gids, err = SubordinateMappings(name)
	if err != nil {
		return nil, nil, err
	}
	return keepID(uids, uid, uint32(unix.Geteuid())), keepID(gids, gid, uint32(unix.Getegid())), nil
}

// mapsByCommand says why newuidmap(1) and newgidmap(1) cannot be used, nil if they can.
func mapsByCommand() error {
	for _, name := range []string{"newuidmap", "newgidmap"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("there is no command %s: %w", name, fs.ErrNotExist)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if n, _ := unix.Getxattr(path, "security.capability", nil); info.Mode()&os.ModeSetuid == 0 && n <= 0 {
			return fmt.Errorf("%s is neither set-user-ID root nor has it the capability: %w", path, fs.ErrPermission)
		}
	}
	return nil
}

// Privileged says whether the program may make namespaces, mounts and devices without a user namespace of its own: it has
// CAP_SYS_ADMIN.
func Privileged() bool { return privileged() }

// FirstUserNamespace says whether the program is in the machine's first user namespace. In others its files cannot have
// attributes of the class trusted, nor can it make device nodes, whatever capabilities it has there.
func FirstUserNamespace() bool { return firstUserNamespace() }
