package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenPaths opens the group of the directories that [Group.Paths] returned, to this program or another one: other than
// with [Manager.Open] and a relative path it does not matter which group that program was in, or this one is in.
// The error satisfies fs.ErrNotExist if none of the directories is there.
func (m *Manager) OpenPaths(paths []string) (*Group, error) {
	leaves := make(map[*hierarchy]string)
	for _, p := range paths {
		h := m.hierarchyOf(p)
		if h != nil && len(p) > len(leaves[h]) { // the others are above it
			leaves[h] = p
		}
	}
	g := m.newGroup("")
	for _, h := range m.hierarchies {
		p := leaves[h]
		if p == "" {
			continue
		}
		g.name = path.Base(p)
		n, err := m.openLeaf(h, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			_ = g.Close()
			return nil, fmt.Errorf("open group %s: %w", p, err)
		}
		g.nodes = append(g.nodes, n)
	}
	if len(g.nodes) == 0 {
		_ = g.Close()
		return nil, fmt.Errorf("open group %q: %w", paths, fs.ErrNotExist)
	}
	return g, nil
}

// hierarchyOf returns the hierarchy that a directory is in, or nil.
func (m *Manager) hierarchyOf(dir string) (found *hierarchy) {
	for _, h := range m.hierarchies {
		point := h.mount.point
		if strings.HasPrefix(dir, strings.TrimSuffix(point, "/")+"/") && (found == nil || len(point) > len(found.mount.point)) {
			found = h
		}
	}
	return found
}

func (m *Manager) openLeaf(h *hierarchy, dir string) (*node, error) {
	if path.Clean(dir) != dir {
		return nil, fs.ErrInvalid
	}
	fd, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || !m.anyFS && !h.isOn(&st) {
		_ = unix.Close(fd)
		return nil, errors.Join(err, fs.ErrInvalid)
	}
	return &node{m: m, h: h, dir: fd, path: dir, leaf: dir}, nil
}
