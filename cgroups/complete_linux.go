package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
)

// Complete makes the group at path, which is read as Create reads it, in those hierarchies where it is not, and opens it in the
// others, so that it is one group everywhere, whoever has made a part of it. It has the limits that it had; Update sets
// others. The error is one of Create's, and then what was made is removed again.
func (m *Manager) Complete(path string) (*Group, error) {
	names, absolute, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	wanted, err := m.wanted(&Resources{})
	if err != nil {
		return nil, fmt.Errorf("complete group %s: %w", path, err)
	}
	g := m.newGroup(path)
	var made []*node
	for _, h := range m.hierarchies {
		p := place{m: m, h: h, names: names, absolute: absolute, wanted: wanted}
		n, err := m.openNode(&p)
		if errors.Is(err, fs.ErrNotExist) {
			p = place{m: m, h: h, names: names, absolute: absolute, wanted: wanted}
			if n, err = p.make(); n != nil {
				made = append(made, n)
			}
			if errors.Is(err, fs.ErrExist) { // somebody was faster
				n.remove()
				made = made[:len(made)-1]
				n, err = m.openNode(&place{m: m, h: h, names: names, absolute: absolute})
			}
		}
		if err != nil {
			for _, n := range made {
				n.remove()
			}
			_ = g.Close()
			return nil, fmt.Errorf("complete group %s: %w", path, err)
		}
		g.nodes = append(g.nodes, n)
	}
	return g, nil
}
