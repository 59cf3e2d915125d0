package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A want is a controller to be enabled in the unified hierarchy for a group.
type want struct {
	controller string
	field      string // the field of Resources that needs it; "" if it only makes the counts complete
	value      any
}

// needs returns the controllers that r needs, each with the field that it is for.
func (m *Manager) needs(r *Resources) []want {
	var list []want
	need := func(set bool, controller, field string, value any) {
		if set && !slices.ContainsFunc(list, func(w want) bool { return w.controller == controller }) {
			list = append(list, want{controller, field, value})
		}
	}
	need(r.Memory > 0, "memory", "Memory", r.Memory)
	need(r.OOMGroup, "memory", "OOMGroup", true)
	need(r.MemoryReservation > 0, "memory", "MemoryReservation", r.MemoryReservation)
	need(r.CPUQuota > 0, "cpu", "CPUQuota", r.CPUQuota)
	need(r.CPUPeriod > 0, "cpu", "CPUPeriod", r.CPUPeriod)
	need(r.CPUShares > 0, "cpu", "CPUShares", r.CPUShares)
	need(r.CPUBurst > 0, "cpu", "CPUBurst", r.CPUBurst)
	need(r.CPUIdle != nil, "cpu", "CPUIdle", r.CPUIdle)
	need(r.CPUs != "", "cpuset", "CPUs", r.CPUs)
	need(r.Mems != "", "cpuset", "Mems", r.Mems)
	need(r.Pids > 0, "pids", "Pids", r.Pids)
	if w := r.ioWant(m.ioController()); w.field != "" {
		need(true, w.controller, w.field, w.value)
	}
	for _, h := range r.Hugepages {
		need(true, "hugetlb", h.field(), h.Limit)
	}
	for _, l := range r.RDMA {
		need(l.Handles != 0 || l.Objects != 0, "rdma", "RDMA["+l.Device+"]", l)
	}
	return list
}

// wanted returns what r needs of the unified hierarchy, or an error if the host lacks a controller that r needs.
func (m *Manager) wanted(r *Resources) ([]want, error) {
	list := m.needs(r)
	for _, controller := range []string{"memory", "cpu", "pids", "io"} {
		if !slices.ContainsFunc(list, func(w want) bool { return w.controller == controller }) {
			list = append(list, want{controller: controller})
		}
	}
	unified := list[:0]
	for _, w := range list {
		h, err := m.controller(w.controller)
		if err != nil && w.field != "" {
			return nil, fieldError(w.field, w.value, err)
		}
		if err == nil && h.unified {
			unified = append(unified, w)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		w := want{field: unifiedField(file), value: r.Unified[file]}
		w.controller, _, _ = strings.Cut(file, ".")
		if err := m.unifiedHas(file); err != nil {
			return nil, fieldError(w.field, w.value, err)
		}
		i := slices.IndexFunc(unified, func(u want) bool { return u.controller == w.controller })
		switch {
		case w.controller == "cgroup":
		case i < 0:
			unified = append(unified, w)
		case unified[i].field == "":
			unified[i] = w
		}
	}
	return unified, nil
}

// enableAbove enables controllers from the top of the mount down to the group at p.path, whose descriptor is own, where the
// group above it does not hand them down yet.
func (p *place) enableAbove(own int) error {
	if len(p.wanted) == 0 {
		return nil
	}
	has, err := readFile(own, "cgroup.controllers")
	if err != nil {
		return fmt.Errorf("read cgroup.controllers of %s: %w", p.path, err)
	}
	given := strings.Fields(string(has))
	if !slices.ContainsFunc(p.wanted, func(w want) bool { return !slices.Contains(given, w.controller) }) {
		return nil
	}
	names := components(strings.TrimPrefix(p.path, strings.TrimSuffix(p.h.mount.point, "/")))
	path := p.path
	defer func() { p.path = path }()
	p.path = p.h.mount.point
	dir, err := openDir(unix.AT_FDCWD, p.path)
	if err != nil {
		return fmt.Errorf("open %s: %w", p.path, err)
	}
	for _, name := range names {
		err := p.enable(dir)
		next := -1
		if err == nil {
			next, err = openDir(dir, name)
		}
		_ = unix.Close(dir)
		if err != nil {
			return err
		}
		dir, p.path = next, strings.TrimSuffix(p.path, "/")+"/"+name
	}
	_ = unix.Close(dir)
	return nil
}

// enableMore enables what r needs of the unified hierarchy and the group was made without.
func (g *Group) enableMore(r *Resources) error {
	n := g.unified()
	if n == nil {
		return nil
	}
	wanted, err := g.m.wanted(r)
	if err != nil {
		return err
	}
	wanted = slices.DeleteFunc(wanted, func(w want) bool { return w.field == "" })
	p := &place{m: g.m, h: n.h, wanted: wanted, path: n.path}
	return p.enableAbove(n.fd())
}

// enable hands the wanted controllers down from dir, a group at p.path, to those below it.
func (p *place) enable(dir int) error {
	if len(p.wanted) == 0 {
		return nil
	}
	has, err := readFile(dir, "cgroup.subtree_control")
	if err != nil {
		return fmt.Errorf("read cgroup.subtree_control of %s: %w", p.path, err)
	}
	enabled := strings.Fields(string(has))
	missing := slices.DeleteFunc(slices.Clone(p.wanted), func(w want) bool {
		return slices.Contains(enabled, w.controller)
	})
	if len(missing) == 0 {
		return nil
	}
	if err := p.m.step("enable", p.path); err != nil {
		return fmt.Errorf("write cgroup.subtree_control of %s: %w", p.path, err)
	}
	// In a group with processes the kernel refuses most controllers, but not cpu and pids: these would make it a
	// threaded group, below which nothing works as one expects.
	fd, err := openat(dir, "cgroup.subtree_control", unix.O_WRONLY)
	if err == nil {
		_ = unix.Close(fd)
	}
	switch {
	case err != nil: // no permission
	case hasProcesses(dir):
		err = unix.EBUSY
	default:
		all := make([]string, len(missing))
		for i, w := range missing {
			all[i] = "+" + w.controller
		}
		err = writeFile(dir, "cgroup.subtree_control", strings.Join(all, " "))
	}
	if err == nil {
		return nil
	}
	// All or nothing failed: now one by one, to get what can be had and to name what cannot.
	for _, w := range missing {
		if !errors.Is(err, unix.EBUSY) {
			err = writeFile(dir, "cgroup.subtree_control", "+"+w.controller)
		}
		if err != nil && w.field != "" {
			return fieldError(w.field, w.value, p.adviseEnable(w.controller, err))
		}
	}
	return nil
}

// hasProcesses reports whether the group has processes that keep it from handing controllers down. The root of all
// groups may have some; it is known by having no type.
func hasProcesses(dir int) bool {
	if _, err := readFile(dir, "cgroup.type"); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	procs, err := readFile(dir, "cgroup.procs")
	return err == nil && len(procs) > 0
}

func (p *place) adviseEnable(controller string, err error) error {
	err = fmt.Errorf("write +%s to cgroup.subtree_control of %s: %w", controller, p.path, err)
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w; name a parent without processes by an absolute path, or move them with Evacuate",
			err, ErrParentBusy)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w (run as root, or have the controller delegated: systemd's Delegate=%s)",
			err, ErrNotDelegated, controller)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: the group was not given the controller by those above it: %w", err,
			errors.ErrUnsupported)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: the group is threaded (cgroup.type): %w", err, errors.ErrUnsupported)
	}
	return err
}
