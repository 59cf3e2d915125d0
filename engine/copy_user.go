package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/caisson-engine/caisson/internal/treecopy"
	"github.com/caisson-engine/caisson/namespace"
)

// ordinaryDeputy starts the deputy by which an ordinary user's program reaches what belongs to its subordinate ids. It is nil for root's.
func ordinaryDeputy(ctx context.Context) (*namespace.Deputy, error) {
	if !rootless() {
		return nil, nil
	}
	return namespace.NewDeputy(ctx, nil, nil)
}

func closeDeputy(d *namespace.Deputy) {
	if d != nil {
		_ = d.Close()
	}
}

// treeIn returns a folder as what is copied from or to.
func treeIn(folder *os.File, d *namespace.Deputy) (treecopy.Tree, func(), error) {
	if d != nil {
		t, err := treecopy.By(d, folder)
		return t, func() {}, err
	}
	r, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()))
	if err != nil {
		return nil, nil, err
	}
	return r, func() { _ = r.Close() }, nil
}

// seenBy returns the container with the maps of its user namespace: that of an ordinary user's program is as the deputy's.
func (c *Container) seenBy(d *namespace.Deputy) *Container {
	if d == nil || len(c.UIDMappings) > 0 {
		return c
	}
	mapped := *c
	mapped.UIDMappings, mapped.GIDMappings = d.Mappings()
	return &mapped
}

// ownerOfDeputy translates ids of the container into those that the deputy has for them.
func (c *Container) ownerOfDeputy(d *namespace.Deputy) func(uid, gid int) (int, int) {
	outside := c.seenBy(d).ownerOutside()
	own := *c
	own.UIDMappings, own.GIDMappings = d.Mappings()
	inside := own.owner(namespace.ContainerID, nowhere)
	return func(uid, gid int) (int, int) { return inside(outside(uid, gid)) }
}

// rootNowhere says that the container's root is nobody in the user namespace of the deputy, which could make no files for it.
func (c *Container) rootNowhere(d *namespace.Deputy) error {
	uid, gid := c.seenBy(d).ownerOutside()(0, 0)
	uids, gids := d.Mappings()
	return invalid("the container's root is user %d and group %d of the host: this program has users %s and groups %s",
		uid, gid, hostIDs(uids), hostIDs(gids))
}

// hostIDs names the ids of the host that maps lead to.
func hostIDs(maps []namespace.IDMapping) string {
	var ranges []string
	for _, m := range maps {
		ranges = append(ranges, fmt.Sprintf("%d to %d", m.HostID, uint64(m.HostID)+uint64(m.Size)-1))
	}
	return strings.Join(ranges, ", ")
}
