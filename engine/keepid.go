package engine

import (
	"cmp"
	"errors"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
)

// isKeepID says whether a mode is one in which an ordinary user has the ids inside that it has outside, or others.
func isKeepID(mode string) bool { return mode == "keep-id" || strings.HasPrefix(mode, "keep-id:") }

// keepsIDs says whether the container's files are a copy of the image's that belongs to the ids of its user namespace: in
// another one than the user's own an ordinary user can have no overlay of layers that belong to that.
func (c *Container) keepsIDs() bool { return isKeepID(c.Config.UserMode) }

func (c *Container) copyMode() layer.CopyMode {
	if c.keepsIDs() {
		return layer.CopyAlways
	}
	return layer.CopyNever
}

// keepID finds the maps of the container's user namespace, and the user that it has if nobody named one.
func (c *Container) keepID() error {
	uids, gids, user, err := container.KeepID(c.Config.UserMode)
	var start *container.StartError
	if errors.As(err, &start) {
		return &Error{Kind: Invalid, Message: "user namespace mode " + c.Config.UserMode, Err: start.Err}
	}
	c.UIDMappings, c.GIDMappings, c.User = uids, gids, cmp.Or(c.User, user)
	return nil
}

// addUser gives the user whom the container keeps an entry in its /etc/passwd and /etc/group, unless the image has one, as podman
// does: with the working directory as home folder. It stays in the container's files, and in images that are made of them.
func (r *Run) addUser() error {
	rec := r.record
	if !rec.keepsIDs() {
		return nil
	}
	uid, ok := namespace.ContainerID(rec.UIDMappings, uint32(os.Geteuid()))
	gid, ok2 := namespace.ContainerID(rec.GIDMappings, uint32(os.Getegid()))
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if !ok || !ok2 || err != nil { // the machine does not know the user either
		return nil
	}
	home := rec.Config.Dir
	if strings.ContainsAny(home, ":\n") {
		home = "/"
	}
	return r.root.AddUser(&namespace.User{Name: u.Username, UID: uid, GID: gid, Home: home})
}
