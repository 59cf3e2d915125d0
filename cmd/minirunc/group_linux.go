package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
)

// makeGroup makes the container's control group with its limits. An ordinary user who asks for none goes without one.
func (m *making) makeGroup(b *bundle.Bundle) error {
	r, err := b.Resources()
	if err != nil {
		return err
	}
	if m.manager, err = cgroups.Detect(); err != nil {
		return m.forgive(err, limits(r))
	}
	if m.c.systemdCgroup {
		m.group, err = m.scopeGroup(m.manager, b, r)
	} else {
		m.group, err = m.plainGroup(m.manager, b, r)
	}
	if err != nil {
		return m.forgive(bundle.ExplainLimit(err), limits(r))
	}
	if m.group != nil {
		m.setGroup(m.group)
	}
	return nil
}

// limits says whether there are limits. Rules for devices are none here: without privileges nobody makes nodes.
func limits(r *cgroups.Resources) bool {
	if r == nil {
		return false
	}
	rest := *r
	rest.Devices, rest.AllDevices = nil, false
	return !reflect.DeepEqual(rest, cgroups.Resources{})
}

// forgive leaves the group out if it may not be made and nobody relies on it.
func (m *making) forgive(err error, limits bool) error {
	if m.ordinary() && !limits && (m.bundle.Spec.Linux.CgroupsPath == "" || errors.Is(err, fs.ErrPermission)) {
		m.c.debugf("without a control group: %v", err)
		return nil
	}
	return fmt.Errorf("unable to apply cgroup configuration: %w", err)
}

// ordinary says whether it is an ordinary user's container, or is to be taken for one.
func (m *making) ordinary() bool {
	return m.c.rootless == "true" || m.c.rootless != "false" && (os.Geteuid() != 0 || inUserNamespace())
}

// plainGroup makes the control group, or only begins to: see groupRest.
func (m *making) plainGroup(manager *cgroups.Manager, b *bundle.Bundle, r *cgroups.Resources) (*cgroups.Group, error) {
	name, err := b.CgroupPath(m.ID)
	if err != nil {
		return nil, err
	}
	if name, err = besideOwn(manager, name); err != nil {
		return nil, err
	}
	g, err := manager.Open(name) // if somebody has made it before, it is noted when it is known to be empty
	if errors.Is(err, fs.ErrNotExist) {
		if err := m.noteGroup(manager, name); err != nil {
			return nil, err
		}
		if m.rest, err = m.beginGroup(name, r); m.rest != nil {
			return nil, nil
		}
		if err == nil {
			g, err = manager.Create(name, r)
		}
		if err == nil {
			return g, nil
		}
		// It has made nothing: what is there is another's, and not to be removed with this container.
		if err := m.folder.ForgetGroup(); err != nil {
			return nil, err
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		g, err = manager.Open(name)
	}
	if err != nil {
		return nil, err
	}
	pids, err := g.Pids()
	if err == nil && len(pids) > 0 {
		err = fmt.Errorf("container's cgroup %s is not empty: %d process(es) found", name, len(pids))
	}
	if err == nil {
		err = m.noteGroup(manager, name)
	}
	_ = g.Close()
	if err != nil {
		return nil, err
	}
	// On v1 somebody may have made it in some of the hierarchies only.
	if g, err = manager.Complete(name); err != nil {
		return nil, errors.Join(err, m.folder.ForgetGroup())
	}
	if err := g.Update(withDevices(r)); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// withDevices has an update of a group that was there set the default rules for devices, which a new group gets of itself. Who
// may not set them can make no nodes either.
func withDevices(r *cgroups.Resources) *cgroups.Resources {
	if r == nil {
		r = &cgroups.Resources{}
	}
	if r.Devices == nil && !r.AllDevices && os.Geteuid() == 0 && !inUserNamespace() {
		r.Devices = cgroups.DefaultDevices()
	}
	return r
}

// besideOwn makes the path of a group on v2 that is to be relative to the program's own absolute: there it is beside the
// program's, in whose group there are processes and can be no groups with limits.
func besideOwn(manager *cgroups.Manager, name string) (string, error) {
	if manager.Mode() != cgroups.V2 || path.IsAbs(name) {
		return name, nil
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	own := strings.TrimSuffix(strings.TrimPrefix(string(b), "0::"), "\n")
	return path.Join("/", path.Dir(own), name), nil
}

// scopeGroup has systemd make the group. A scope is made of a process, and ends with its last one: so this one is in it until
// the container's is.
func (m *making) scopeGroup(manager *cgroups.Manager, b *bundle.Bundle, r *cgroups.Resources) (*cgroups.Group, error) {
	unit, err := b.CgroupUnit(m.ID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if m.back, err = ownGroups(manager); err != nil {
		return nil, err
	}
	s, err := cgroups.CreateScope(ctx, &cgroups.ScopeOptions{
		Name: unit.Name, Slice: unit.Slice, Description: "minirunc container " + m.ID, PIDs: []int{os.Getpid()},
		User: os.Geteuid() != 0,
	})
	if err != nil {
		return nil, err
	}
	m.Scope, m.Config.Cgroups.Systemd = s.Name, true
	if err := m.noteGroup(manager, s.Group); err != nil { // before there is a process in it that outlives this one
		return nil, err
	}
	g, err := manager.Open(s.Group)
	if err != nil {
		return nil, err
	}
	if err := g.Update(withDevices(r)); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// leaveScope goes back to where the program was before systemd put it into the container's scope.
func (m *making) leaveScope() {
	for _, dir := range m.back {
		_ = os.WriteFile(path.Join(dir, "cgroup.procs"), []byte("0"), 0)
	}
	m.back = nil
}

// ownGroups are the folders of the groups that the program is in.
func ownGroups(manager *cgroups.Manager) ([]string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var dirs []string
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		name := strings.TrimPrefix(f[1], "name=")
		if name == "" && manager.Mode() != cgroups.V2 {
			name = "unified"
		}
		dirs = append(dirs, path.Join("/sys/fs/cgroup", name, f[2]))
	}
	return dirs, nil
}
