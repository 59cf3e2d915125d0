package container

import (
	"slices"
	"strings"
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
		_ = c.Root.MakeTarget(m.Target, file)
	}
}
