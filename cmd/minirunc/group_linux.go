package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/namespace"
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
	return m.c.rootless == "true" || m.c.rootless != "false" && (os.Geteuid() != 0 || !namespace.FirstUserNamespace())
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
	dirs, err := manager.Directories(name)
	if err != nil {
		return nil, err
	}
	there := func(dir string) bool { return syscall.Access(dir, 0) == nil }
	var g *cgroups.Group
	if slices.ContainsFunc(dirs, there) { // it is noted when it is known to be empty
		g, err = manager.Open(name)
	} else {
		if err := m.folder.NoteGroup(dirs); err != nil {
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
	if r.Devices == nil && !r.AllDevices && os.Geteuid() == 0 && namespace.FirstUserNamespace() {
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

// scopeGroup has systemd make the group. A scope is made of a process, and ends with its last one: so there is one in it that
// does nothing, until the container's is.
func (m *making) scopeGroup(manager *cgroups.Manager, b *bundle.Bundle, r *cgroups.Resources) (*cgroups.Group, error) {
	unit, err := b.CgroupUnit(m.ID)
	if err != nil {
		return nil, err
	}
	if m.place, err = namespace.NewPlaceholder(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scopeWait)
	defer cancel()
	limits := *withDevices(r)
	m.pids, limits.Pids = limits.Pids, 0
	m.scope, err = cgroups.CreateScope(ctx, &cgroups.ScopeOptions{
		Name: unit.Name, Slice: unit.Slice, Description: "minirunc container " + m.ID, PIDs: []int{m.place.Pid()},
		User: usersSystemd(), Resources: &limits,
	})
	if err != nil {
		return nil, err
	}
	m.Scope, m.ScopeInvocation, m.Config.Cgroups.Systemd = m.scope.Name, m.scope.Invocation, true
	if err := m.noteGroup(manager, m.scope.Group); err != nil { // before there is a process in it that outlives this one
		return nil, err
	}
	g, err := manager.Complete(m.scope.Group)
	if err != nil {
		return nil, err
	}
	if err := g.Update(&limits); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// usersSystemd says whether the user's own systemd makes the groups, and not the machine's. Callers such as podman have an ordinary user
// be root of a user namespace; a whole system in one has a systemd of its own there, which is the machine's.
func usersSystemd() bool {
	if os.Geteuid() != 0 {
		return true
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" || namespace.FirstUserNamespace() {
		return false
	}
	_, err := os.Lstat(filepath.Join(dir, "systemd/private"))
	return err == nil
}

// scopeWait bounds how long systemd is waited for.
const scopeWait = time.Minute

// leaveScope ends the process that kept the scope until the container's was in it, and limits the number of processes, of
// which that was one.
func (m *making) leaveScope() error {
	if m.place == nil {
		return nil
	}
	err := m.place.Close()
	m.place = nil
	if err != nil || m.scope == nil || m.group == nil || m.pids == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scopeWait)
	defer cancel()
	r := &cgroups.Resources{Pids: m.pids}
	if err := m.group.Update(r); err != nil {
		return fmt.Errorf("unable to apply cgroup configuration: %w", bundle.ExplainLimit(err))
	}
	return m.scope.Update(ctx, r)
}

// openScope finds the scope of a container that systemd made the group of.
func (k *container) openScope(ctx context.Context) (*cgroups.Scope, error) {
	s, err := cgroups.OpenScope(ctx, &cgroups.ScopeOptions{Name: k.Scope, User: usersSystemd()})
	if err == nil && k.ScopeInvocation != "" && k.ScopeInvocation != s.Invocation {
		return nil, fmt.Errorf("scope %s is another one now: %w", k.Scope, fs.ErrNotExist)
	}
	return s, err
}

// updateScope has systemd show other limits, and write them again when it reads its configuration anew.
func (k *container) updateScope(r *cgroups.Resources) error {
	if k.Scope == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), scopeWait)
	defer cancel()
	s, err := k.openScope(ctx)
	if err != nil {
		return err
	}
	return s.Update(ctx, r)
}

// endScope waits until an empty scope is gone, after which its name can be used again. It goes by itself, so it is no error if
// systemd does not answer.
func (k *container) endScope() {
	if k.Scope == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	if s, err := k.openScope(ctx); err == nil {
		_ = s.Stop(ctx)
	}
}
