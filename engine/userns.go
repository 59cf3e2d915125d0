package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
)

// mapUsers finds the maps of the container's user namespace. They are the container's as long as it is there, whatever is
// written into /etc/subuid meanwhile.
func (c *Container) mapUsers() error {
	cfg := &c.Config
	switch mode := cfg.UserMode; {
	case mode == "" || mode == "host":
		return nil
	case isKeepID(mode):
		return c.keepID()
	case mode != "auto" && mode != "remap":
		return invalid(`invalid user namespace mode: %s ("host", "auto" and, for an ordinary user, "keep-id" are there)`, mode)
	case rootless():
		return invalid("user namespace mode %s: a container of an ordinary user is in the user's own namespace: leave the mode out, or use keep-id", mode)
	case cfg.Privileged:
		return invalid("conflicting options: privileged mode is incompatible with a user namespace of the container's own")
	case cfg.Network == "host":
		return invalid("conflicting options: the host's network is incompatible with a user namespace of the container's own")
	case cfg.PIDMode == "host":
		return invalid("conflicting options: the host's PID namespace is incompatible with a user namespace of the container's own")
	}
	var missing error
	for _, name := range []string{"caisson", "containers", strconv.Itoa(os.Geteuid())} {
		uids, gids, err := namespace.SubordinateMappings(name)
		if err == nil {
			c.UIDMappings, c.GIDMappings = uids, gids
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if missing == nil {
			missing = err
		}
	}
	return &Error{Kind: Invalid, Message: "user namespace mode " + cfg.UserMode, Err: missing}
}

// idMap shows the files of a bind as the container's, nil if it is in the host's user namespace, or its files belong to its ids.
func (c *Container) idMap() *namespace.IDMap {
	if len(c.UIDMappings) == 0 || c.keepsIDs() {
		return nil
	}
	return &namespace.IDMap{} // the container's own
}

// asRoot calls f, which makes files of the container, as the container's root.
func (c *Container) asRoot(f func() error) error {
	if len(c.UIDMappings) == 0 || c.keepsIDs() {
		return f()
	}
	uid, ok := namespace.HostID(c.UIDMappings, 0)
	gid, ok2 := namespace.HostID(c.GIDMappings, 0)
	if !ok || !ok2 {
		return invalid("the map of container %s has no root", c.ShortID())
	}
	return namespace.AsOwner(uid, gid, f)
}

// nobody is who owns, inside, what belongs to nobody there; nowhere is an id that no map has, so that the kernel refuses to
// give a file to it.
const (
	nobody  = 65534
	nowhere = 1<<32 - 2
)

// ownerInside translates owners of files as the host sees them, nil if they are the same.
func (c *Container) ownerInside() func(uid, gid int) (int, int) {
	return c.owner(namespace.ContainerID, nobody)
}

// ownerOutside is the reverse.
func (c *Container) ownerOutside() func(uid, gid int) (int, int) {
	return c.owner(namespace.HostID, nowhere)
}

func (c *Container) owner(in func([]container.IDMapping, uint32) (uint32, bool), missing int) func(uid, gid int) (int, int) {
	if len(c.UIDMappings) == 0 {
		return nil
	}
	one := func(maps []container.IDMapping, id int) int {
		if id < 0 || int64(id) >= nowhere {
			return missing
		}
		if other, ok := in(maps, uint32(id)); ok {
			return int(other)
		}
		return missing
	}
	return func(uid, gid int) (int, int) { return one(c.UIDMappings, uid), one(c.GIDMappings, gid) }
}

// populate gives a volume what the container has at its target. The volume's files have the owners that the layers' have on
// disk: what a container in a user namespace has shows others.
func (r *Run) populate(ctx context.Context, m *Mount) (err error) {
	root := r.root
	if len(r.record.UIDMappings) > 0 && !r.record.keepsIDs() {
		img, err := r.e.images.Get(ctx, string(r.record.ImageID), nil)
		if err != nil {
			return err
		}
		if root, err = layer.Mount(ctx, img.Layers, &layer.MountOptions{ReadOnly: true}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, root.Close()) }()
	}
	return r.e.volumes.Populate(ctx, m.Source, root, m.Target)
}
