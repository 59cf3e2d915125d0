package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Create makes the group at path in every hierarchy and puts it under the limits of r, which may be nil. A path without
// a leading slash is below the group that the program is in; one with it is below the root of each hierarchy, as the
// cgroup namespace shows it. Groups between that do not exist are made too, and removed with the last group that the
// Manager has below them.
//
// On v2 the controllers are enabled in the subtree_control of the groups above, where they are not yet: a limit fails
// with ErrParentBusy, if one of these has processes of its own; without limits, the group then just counts less.
//
// The error is a [*ResourceError] when a limit was refused; it satisfies fs.ErrExist when the group is there already,
// and is ErrNotDelegated (fs.ErrPermission) when the program may not make groups there. Then nothing is left behind,
// except that controllers stay enabled.
func (m *Manager) Create(path string, r *Resources) (*Group, error) {
	names, absolute, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("create group %s: %w", path, err)
	}
	if r == nil {
		r = &Resources{}
	}
	g := m.newGroup(path)
	if err := g.create(names, absolute, r); err != nil {
		g.undo()
		return nil, fmt.Errorf("create group %s: %w", path, err)
	}
	return g, nil
}

func (g *Group) create(names []string, absolute bool, r *Resources) error {
	wanted, err := g.m.wanted(r)
	if err != nil {
		return err
	}
	for _, h := range g.m.hierarchies {
		p := place{m: g.m, h: h, names: names, absolute: absolute, wanted: wanted}
		n, err := p.make()
		if n != nil {
			g.nodes = append(g.nodes, n)
		}
		if err != nil {
			return err
		}
	}
	return g.apply(r, false)
}

// A place is where a group goes in one hierarchy.
type place struct {
	m        *Manager
	h        *hierarchy
	names    []string
	absolute bool
	wanted   []want

	path string // of the directory that descend is at
}

// base opens the directory that the names are below, and returns the names left.
func (p *place) base() (dir int, names []string, err error) {
	if !p.absolute {
		p.path = p.h.path
		dir, err = retry(func() (int, error) { return unix.FcntlInt(uintptr(p.h.own), unix.F_DUPFD_CLOEXEC, 0) })
		return dir, p.names, err
	}
	names, ok := below(p.h.mount.root, "/"+strings.Join(p.names, "/"))
	if !ok || len(names) == 0 {
		return -1, nil, fmt.Errorf("hierarchy %v at %s shows only the groups below %s: %w",
			p.h, p.h.mount.point, p.h.mount.root, errors.ErrUnsupported)
	}
	p.path = p.h.mount.point
	dir, err = openDir(unix.AT_FDCWD, p.path)
	if err != nil {
		err = fmt.Errorf("open %s: %w", p.path, err)
	}
	return dir, names, err
}

// maxTries bounds how often a path is gone through again because a group of it went away.
const maxTries = 100

// make makes the directories and opens the last. When it fails it may return a node nevertheless: what is to be undone.
func (p *place) make() (*node, error) {
	for try := 0; ; try++ {
		n, err := p.descend()
		// A group between may be removed, since it is empty, by who removes another group below it.
		if err == nil || !gone(err) || try >= maxTries {
			return n, err
		}
		n.remove()
	}
}

func (p *place) descend() (*node, error) {
	n := &node{m: p.m, h: p.h, dir: -1}
	dir, names, err := p.base()
	if err != nil {
		return n, err
	}
	if p.h.unified && !p.absolute {
		if err := p.enableAbove(dir); err != nil {
			_ = unix.Close(dir)
			return n, err
		}
	}
	for i, name := range names {
		next, err := p.enter(n, dir, name, i == len(names)-1)
		_ = unix.Close(dir)
		if err != nil {
			return n, err
		}
		dir = next
	}
	n.dir, n.path = dir, p.path
	return n, nil
}

// enter makes the directory name in dir, which is at p.path, and opens it. The last may not exist.
func (p *place) enter(n *node, dir int, name string, last bool) (int, error) {
	if p.h.unified {
		if err := p.enable(dir); err != nil {
			return -1, err
		}
	}
	path := strings.TrimSuffix(p.path, "/") + "/" + name
	err := p.m.step("mkdir", path)
	if err == nil {
		_, err = retry(func() (int, error) { return 0, unix.Mkdirat(dir, name, 0o755) })
	}
	made := err == nil
	if err != nil && (last || !errors.Is(err, fs.ErrExist)) {
		return -1, fmt.Errorf("mkdir %s: %w", path, p.advise(err))
	}
	switch {
	case last:
		n.leaf = path
	case made:
		p.m.between.add(path)
		fallthrough
	default:
		n.above = append(n.above, path)
	}
	if err = p.m.step("open", path); err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	next, err := openDir(dir, name)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	if made && p.h.oldMemory {
		if err = writeFile(next, "memory.use_hierarchy", "1"); err != nil {
			err = fmt.Errorf("write memory.use_hierarchy of %s: %w", path, err)
		}
	}
	if err == nil && p.h.has("cpuset") { // one that was there may be another program's, which has not come to this yet
		err = p.inherit(dir, next, path)
	}
	if err != nil {
		_ = unix.Close(next)
		return -1, err
	}
	p.path = path
	return next, nil
}

// inherit gives a v1 group that has none its parent's CPUs and memory nodes: without them no process may join.
func (p *place) inherit(parent, dir int, path string) error {
	for _, f := range [][2]string{
		{"cpuset.cpus", "cpuset.effective_cpus"}, {"cpuset.mems", "cpuset.effective_mems"},
	} {
		if err := p.m.step("inherit", path); err != nil {
			return fmt.Errorf("inherit %s for %s: %w", f[0], path, err)
		}
		value, err := readFile(dir, f[0])
		if err == nil && strings.TrimSpace(string(value)) != "" {
			continue
		}
		value, err = readFile(parent, f[0])
		if err == nil && strings.TrimSpace(string(value)) == "" {
			value, err = readFile(parent, f[1])
		}
		if err == nil {
			err = writeFile(dir, f[0], string(value))
		}
		if err != nil {
			return fmt.Errorf("inherit %s for %s: %w", f[0], path, err)
		}
	}
	return nil
}

// advise adds to an error of mkdir what can be done about it.
func (p *place) advise(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) && p.h.unified:
		return fmt.Errorf("%w: %w (run as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes)",
			err, ErrNotDelegated)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w (run as root, or use a host with cgroup v2)", err, ErrNotDelegated)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w (cgroup.max.descendants or cgroup.max.depth of a group above is reached)", err)
	case errors.Is(err, unix.ENOSPC) && p.h.has("cpuset"):
		return fmt.Errorf("%w (the parent has no CPUs or memory nodes)", err)
	}
	return err
}
