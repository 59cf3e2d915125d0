package cgroups

import (
	"fmt"
	"os"
)

// A Making is a group that is made in two parts: see [Manager.Begin].
type Making struct {
	g     *Group
	r     *Resources
	place place    // without its hierarchy
	dirs  []string // what Directories says
	dir   *os.File // in the unified hierarchy, nil without one
}

// Begin makes of a group what the making of a process takes: the directory in the unified hierarchy. The others, of which
// there may be a dozen, are made by Finish, meanwhile. It returns nil if that is not worth it, and [Manager.Create] is to be
// called instead: on v2, and where not every hierarchy shows the path. The errors are those of Create; then nothing is left.
func (m *Manager) Begin(path string, r *Resources) (*Making, error) {
	names, absolute, err := splitPath(path)
	if err != nil || m.mode == V2 {
		return nil, err
	}
	dirs, err := m.Directories(path)
	if err != nil || len(dirs) < len(m.hierarchies) {
		return nil, err
	}
	if r == nil {
		r = &Resources{}
	}
	k := &Making{g: m.newGroup(path), r: r, place: place{m: m, names: names, absolute: absolute}, dirs: dirs}
	if err := k.begin(); err != nil {
		k.Abort()
		return nil, fmt.Errorf("create group %s: %w", path, err)
	}
	return k, nil
}

func (k *Making) begin() (err error) {
	if err := k.r.Validate(); err != nil {
		return err
	}
	if k.place.wanted, err = k.g.m.wanted(k.r); err != nil || k.g.m.unified == nil {
		return err
	}
	n, err := k.make(k.g.m.unified)
	if err != nil {
		return err
	}
	fd, err := n.duplicate()
	if err != nil {
		return fmt.Errorf("open %s: %w", n.path, err)
	}
	k.dir = os.NewFile(uintptr(fd), n.path)
	k.g.dir = k.dir
	return nil
}

func (k *Making) make(h *hierarchy) (*node, error) {
	p := k.place
	p.h = h
	n, err := p.make()
	if n != nil {
		k.g.nodes = append(k.g.nodes, n)
	}
	return n, err
}

// Paths is what [Group.Paths] will be, but for groups between that were not there.
func (k *Making) Paths() []string { return k.paths(func(*hierarchy) bool { return true }, "") }

// Entry is the way in for a process that is being made, as [Group.Entry]: the directory in which clone3(2) makes it, nil
// without a unified hierarchy, and the paths of the tasks files of the others, which are there after Finish.
func (k *Making) Entry() (dir *os.File, tasks []string) {
	return k.dir, k.paths(func(h *hierarchy) bool { return !h.unified }, "/tasks")
}

func (k *Making) paths(which func(*hierarchy) bool, file string) (list []string) {
	for i, h := range k.g.m.hierarchies {
		if which(h) {
			list = append(list, k.dirs[i]+file)
		}
	}
	return list
}

// Finish makes the rest of the group and puts it under its limits. After an error, which is one of Create's, Abort is to be
// called when no process is left in the group.
func (k *Making) Finish() (*Group, error) {
	if err := k.finish(); err != nil {
		return nil, fmt.Errorf("create group %s: %w", k.g.name, err)
	}
	return k.g, nil
}

func (k *Making) finish() error {
	for _, h := range k.g.m.hierarchies {
		if h.unified {
			continue
		}
		if _, err := k.make(h); err != nil {
			return err
		}
	}
	return k.g.apply(k.r, false)
}

// Abort removes what has been made.
func (k *Making) Abort() { k.g.undo() }
