package cgroups

import (
	"path"
	"strings"
)

// Hierarchies returns the hierarchies that groups are created in, in the order of Detect.
func (m *Manager) Hierarchies() []Hierarchy {
	all := make([]Hierarchy, 0, len(m.hierarchies))
	for _, h := range m.hierarchies {
		switch options := strings.Join(h.names, ","); {
		case h.unified && m.mode == V2:
			all = append(all, Hierarchy{Type: "cgroup2"})
		case h.unified:
			all = append(all, Hierarchy{Name: path.Base(h.mount.point), Type: "cgroup2"})
		case strings.HasPrefix(options, "name="):
			all = append(all, Hierarchy{Name: path.Base(h.mount.point), Type: "cgroup", Options: "none," + options})
		default:
			all = append(all, Hierarchy{Name: path.Base(h.mount.point), Type: "cgroup", Options: options})
		}
	}
	return all
}
