package cgroups

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// List returns the names of the groups directly below the group at path, which is read as Create reads it, in any of
// the hierarchies: what a program finds again after a crash. "" is the group that the program was in at Detect. The
// error satisfies fs.ErrNotExist if there is no such group.
func (m *Manager) List(path string) ([]string, error) {
	var all []string
	list := func(dir int, path string) error {
		// A descriptor of its own, since listing moves its position.
		own, err := openDir(dir, ".")
		var names []string
		if err == nil {
			names, err = subdirs(own)
			_ = unix.Close(own)
		}
		all = append(all, names...)
		if err != nil && !gone(err) {
			return fmt.Errorf("list %s: %w", path, err)
		}
		return nil
	}
	if path == "" {
		for _, h := range m.hierarchies {
			if err := list(h.own, h.path); err != nil {
				return nil, err
			}
		}
	} else {
		g, err := m.Open(path)
		if err != nil {
			return nil, err
		}
		defer g.Close()
		for _, n := range g.nodes {
			if err := list(n.fd(), n.path); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
