package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (g *Group) applyUnified(r *Resources) error {
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		n, err := g.unifiedFor(file)
		if err != nil {
			return fieldError(unifiedField(file), r.Unified[file], err)
		}
		// Files that take several lines, such as io.max, take one a write.
		for line := range strings.Lines(r.Unified[file]) {
			line = strings.TrimSuffix(line, "\n")
			if line == "" {
				continue
			}
			if err := n.set(setting{unifiedField(file), line, file, line}); err != nil {
				return err
			}
		}
	}
	return nil
}

// unifiedFor returns the directory in the unified hierarchy, if the controller that file is of is there.
func (g *Group) unifiedFor(file string) (*node, error) {
	if err := g.m.unifiedHas(file); err != nil {
		return nil, err
	}
	if n := g.unified(); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("group %s is not in the unified hierarchy: %w", g.name, errors.ErrUnsupported)
}

// unifiedHas returns an error if the controller that a control file is of is not in the unified hierarchy.
func (m *Manager) unifiedHas(file string) error {
	controller, _, _ := strings.Cut(file, ".")
	switch {
	case m.unified == nil:
		return fmt.Errorf("the unified hierarchy is not mounted in this %v layout: %w", m.mode, errors.ErrUnsupported)
	case controller == "cgroup":
		return nil
	}
	h, err := m.controller(controller)
	if err != nil {
		return err
	}
	if !h.unified {
		return fmt.Errorf("controller %s is on cgroup v1 in this %v layout: %w", controller, m.mode,
			errors.ErrUnsupported)
	}
	return nil
}
