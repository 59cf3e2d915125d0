package cgroups

import (
	"fmt"
	"strings"
	"syscall"
)

// Directories returns the directories that [Manager.Create] would make of path, one in each hierarchy, on the host's file
// system: what a program notes before it creates a group, so that another one finds by [Manager.OpenPaths] what it left if
// it is killed meanwhile.
func (m *Manager) Directories(path string) ([]string, error) {
	names, absolute, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, h := range m.hierarchies {
		base, rest := h.path, names
		if absolute {
			ok := false
			base = h.mount.point
			if rest, ok = below(h.mount.root, "/"+strings.Join(names, "/")); !ok || len(rest) == 0 {
				continue // Create says why not
			}
		}
		all = append(all, strings.TrimSuffix(base, "/")+"/"+strings.Join(rest, "/"))
	}
	return all, nil
}

// ByController returns the group's directory for each controller ("memory"), v1's hierarchies without one as "name=systemd",
// and the unified hierarchy, which has all other controllers, as "". It is how runc's state.json has them.
func (g *Group) ByController() map[string]string {
	all := make(map[string]string)
	for _, n := range g.nodes {
		if n.h.unified {
			all[""] = n.path
		}
		for _, name := range n.h.names {
			all[name] = n.path
		}
	}
	return all
}

// Signal sends a signal to all processes of the group and of the groups below it that are there at the moment. To end all,
// however fast they fork, is Kill's work.
func (g *Group) Signal(sig syscall.Signal) error {
	if err := g.acquire("signal"); err != nil {
		return err
	}
	defer g.mu.RUnlock()
	if err := g.signal(sig); err != nil {
		return fmt.Errorf("signal group %s: %w", g.name, err)
	}
	return nil
}
