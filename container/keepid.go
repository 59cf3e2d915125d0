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

// KeepID returns what a UserNamespace of "keep-id", or "keep-id:uid=1,gid=2", is for this program: the maps, and the user inside
// who is the program's, "uid:gid". The error is a *[StartError]: the program is root's, the text is wrong, or the user has no
// subordinate ids, which satisfies fs.ErrNotExist.
func KeepID(mode string) (uids, gids []IDMapping, user string, err error) {
	uid, gid, err := parseKeepID(mode, uint32(os.Geteuid()), uint32(os.Getegid()))
	if err != nil {
		return nil, nil, "", err
	}
	if namespace.Privileged() || os.Geteuid() == 0 {
		return nil, nil, "", wrong("UserNamespace", "keep-id is for an ordinary user's program: root's user would be the host's root")
	}
	if uids, gids, err = namespace.KeepIDMappings(uid, gid); err != nil {
		return nil, nil, "", &StartError{Step: "look up subordinate ids", Path: "UserNamespace", Err: err}
	}
	return uids, gids, fmt.Sprintf("%d:%d", uid, gid), nil
}

// keepID finds the maps of a container in which the program's user keeps its ids.
func (c *Container) keepID() (err error) {
	if user, _, _ := c.userOfRoot(); user != nil {
		return wrong("UserNamespace", "keep-id takes a Root that is a folder: %s was mounted in another user namespace", c.Root)
	}
	c.uids, c.gids, c.keptUser, err = KeepID(c.UserNamespace)
	return err
}
