package container

import (
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// makeTargets makes, inside the root, what the targets of mounts lead to over symbolic links and is missing. What lies below
// another mount is found, or missing, in that. An error is left to the start, which may get on without: the root may be
// read-only and the link lead into a mount.
func (c *Container) makeTargets() {
	if len(c.Mounts) == 0 {
		return
	}
	all := c.allMounts()
	for _, m := range c.Mounts {
		if slices.ContainsFunc(all, func(o Mount) bool { return strings.HasPrefix(m.Target, o.Target+"/") }) {
			continue
		}
		file := false
		if m.Type == "bind" || m.Type == "" {
			st, err := m.Stat()
			file = err == nil && !st.IsDir()
		}
		if err := c.Root.MakeTarget(m.Target, file); err != nil {
			c.asRoot(func() error { return c.Root.MakeTarget(m.Target, file) })
		}
	}
}

// asRoot calls f once more as the root of the container's user namespace, if it has one: where the root file system shows other
// owners, only those can make something in it.
func (c *Container) asRoot(f func() error) {
	uid, ok := namespace.HostID(c.UIDMappings, 0)
	gid, ok2 := namespace.HostID(c.GIDMappings, 0)
	if ok && ok2 {
		_ = namespace.AsOwner(uid, gid, f)
	}
}
