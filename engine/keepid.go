package engine

import (
	"cmp"
	"errors"
	"strings"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/layer"
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
