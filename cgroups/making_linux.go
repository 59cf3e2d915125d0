package cgroups

import (
	"fmt"
	"os"
	"strings"
)

// A Making is a group that is made in two parts: see [Manager.Begin].
type Making struct {
	g      *Group
	r      *Resources
	names  []string
	wanted []want
	first  *node // in the unified hierarchy, nil without one
	dir    *os.File
}

// Begin makes of a group what the making of a process takes: the directory in the unified hierarchy. The others, of which
// there may be a dozen, are made by Finish, meanwhile. It returns nil if that is not worth it, and [Manager.Create] is to be
// called instead: on v2, and if groups between are to be made. The errors are those of Create; then nothing is left.
func (m *Manager) Begin(path string, r *Resources) (*Making, error) {
	names, absolute, err := splitPath(path)
	if err != nil || m.mode == V2 || absolute || len(names) != 1 {
		return nil, err
	}
	if r == nil {
		r = &Resources{}
	}
	k := &Making{g: m.newGroup(path), r: r, names: names}
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
	if k.wanted, err = k.g.m.wanted(k.r); err != nil || k.g.m.unified == nil {
		return err
	}
	n, err := k.make(k.g.m.unified)
	if err != nil {
		return err
	}
	k.first = n
	fd, err := n.duplicate()
	if err != nil {
		return fmt.Errorf("open %s: %w", n.path, err)
	}
	k.dir = os.NewFile(uintptr(fd), n.path)
	k.g.dir = k.dir
	return nil
}

func (k *Making) make(h *hierarchy) (*node, error) {
	p := place{m: k.g.m, h: h, names: k.names, wanted: k.wanted}
	n, err := p.make()
	if n != nil {
		k.g.nodes = append(k.g.nodes, n)
	}
	return n, err
}

// Paths is what [Group.Paths] will be.
func (k *Making) Paths() []string { return k.paths(func(*hierarchy) bool { return true }, "") }

// Entry is the way in for a process that is being made, as [Group.Entry]: the directory in which clone3(2) makes it, nil
// without a unified hierarchy, and the paths of the tasks files of the others, which are there after Finish.
func (k *Making) Entry() (dir *os.File, tasks []string) {
	return k.dir, k.paths(func(h *hierarchy) bool { return !h.unified }, "/tasks")
}

func (k *Making) paths(which func(*hierarchy) bool, file string) (list []string) {
	for _, h := range k.g.m.hierarchies {
		if which(h) {
			list = append(list, strings.TrimSuffix(h.path, "/")+"/"+k.names[0]+file)
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
