package container

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// isKeepID says whether a UserNamespace is one in which the program's user keeps its ids.
func isKeepID(mode string) bool { return mode == "keep-id" || strings.HasPrefix(mode, "keep-id:") }

// parseKeepID returns the ids that the user with ids uid and gid has inside.
func parseKeepID(mode string, uid, gid uint32) (uint32, uint32, error) {
	_, options, has := strings.Cut(mode, ":")
	if !has {
		return uid, gid, nil
	}
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n >= 1<<32-1 || key != "uid" && key != "gid" {
			return 0, 0, wrong("UserNamespace", `keep-id: %q is neither "uid=" nor "gid=" with a number below 4294967295`, o)
		}
		if key == "uid" {
			uid = uint32(n)
		} else {
			gid = uint32(n)
		}
	}
	return uid, gid, nil
}

// keepID finds the maps of a container in which the program's user keeps its ids.
func (c *Container) keepID() error {
	uid, gid, err := parseKeepID(c.UserNamespace, uint32(os.Geteuid()), uint32(os.Getegid()))
	if err != nil {
		return err
	}
	if namespace.Privileged() || os.Geteuid() == 0 {
		return wrong("UserNamespace", "keep-id is for an ordinary user's program: root's user would be the host's root")
	}
	if user, _, _ := c.userOfRoot(); user != nil {
		return wrong("UserNamespace", "keep-id takes a Root that is a folder: %s was mounted in another user namespace", c.Root)
	}
	if c.uids, c.gids, err = namespace.KeepIDMappings(uid, gid); err != nil {
		return &StartError{Step: "look up subordinate ids", Path: "UserNamespace", Err: err}
	}
	c.keptUser = fmt.Sprintf("%d:%d", uid, gid)
	return nil
}
