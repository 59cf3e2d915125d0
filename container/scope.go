package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// Groups in a scope: the container's, in which nobody but us writes, and the one in which the process is of which systemd makes
// the scope. On v2 that must not be in the scope's own, where there are limits for the groups below it. The process stays until the
// container has ended and its group was read: systemd removes the groups of a scope that is empty. With Keep, the keeper stays.
const (
	scopeContainer = "/container"
	scopeAside     = "/aside"
)

// scopeEnd bounds how long systemd is waited for when it ends a scope.
const scopeEnd = 10 * time.Second

// A scoping is a container's being in a scope.
type scoping struct {
	c     *Container
	scope *cgroups.Scope
	place *namespace.Placeholder
	aside *cgroups.Group
}

// makeScope has systemd make the container's scope. It returns nil if there is to be none.
func (c *Container) makeScope(ctx context.Context, u *undo) (*scoping, error) {
	if c.Scope == nil {
		return nil, nil
	}
	o := c.scopeOptions()
	fail := func(err error) (*scoping, error) {
		return nil, &StartError{Step: "create scope", Path: o.Name, Err: err}
	}
	m, err := manager()
	if err != nil {
		return nil, &StartError{Step: "detect control groups", Err: err}
	}
	s := &scoping{c: c}
	if s.place, err = namespace.NewPlaceholder(); err != nil {
		return fail(err)
	}
	u.add(s.done)
	o.PIDs = []int{s.place.Pid()}
	if s.scope, err = cgroups.CreateScope(ctx, o); err != nil {
		return fail(err)
	}
	u.add(func() {
		s.done() // so that there is nothing left to wait for
		stopScope(s.scope)
	})
	c.invocation = s.scope.Invocation
	if c.kept() != nil {
		if err := c.note(scopeFile, []string{c.invocation}, u); err != nil {
			return nil, err
		}
	}
	if s.aside, err = m.Create(s.scope.Group+scopeAside, &cgroups.Resources{AllDevices: true}); err != nil {
		return fail(err)
	}
	if err := s.aside.Add(s.place.Pid()); err != nil {
		return fail(err)
	}
	c.scopeGroup = s.scope.Group + scopeContainer
	return s, nil
}

// scopeOptions are Scope, with a name.
func (c *Container) scopeOptions() *cgroups.ScopeOptions {
	o := *c.Scope
	if o.Name == "" {
		o.Name = "caisson-" + c.name + ".scope"
	}
	return &o
}

// created gives the scope the container's limits when the container's process exists.
func (s *scoping) created(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return s.c.limitScope(ctx, s.scope, s.c.resources())
}

// limitScope sets the limits of the scope, so that systemd's tools show them. There is one more process in it; and if it is the
// keeper's scope, too, the limits of memory and processes are not for that.
func (c *Container) limitScope(ctx context.Context, s *cgroups.Scope, r *cgroups.Resources) error {
	limits := *r
	if c.Keep != nil {
		limits.Memory, limits.MemorySwap, limits.MemoryReservation, limits.Pids = 0, 0, 0, 0
	}
	if limits.Pids > 0 {
		limits.Pids++
	}
	if err := s.Update(ctx, &limits); err != nil {
		return &StartError{Step: "limit scope", Path: s.Name, Err: err}
	}
	return nil
}

// done ends the process that kept the scope. It may be called again.
func (s *scoping) done() {
	if s == nil || s.place == nil {
		return
	}
	_ = s.place.Close()
	s.place = nil
	if s.aside != nil {
		_ = s.aside.Remove()
		_ = s.aside.Close()
	}
}

// stopScope ends a scope and waits for it. An empty one ends by itself a little later, so it is no error if that fails.
func stopScope(s *cgroups.Scope) {
	ctx, cancel := context.WithTimeout(context.Background(), scopeEnd)
	defer cancel()
	m, err := manager()
	if s.Stop(ctx) != nil || err != nil {
		return
	}
	// On v1 systemd does not know of all hierarchies.
	if g, err := m.Open(s.Group); err == nil {
		_ = g.Remove()
		_ = g.Close()
	}
}

// scopeEnded waits until the scope of a container that has ended is gone: its name can be used again then. Below them were the folders
// of the container's group: where systemd was faster, those remain on v1 that it does not know.
func (c *Container) scopeEnded(folders []string) {
	if s, err := c.openScope(context.Background()); err == nil {
		stopScope(s)
	}
	for _, dir := range folders {
		if above := filepath.Dir(dir); c.Scope != nil && filepath.Base(above) == c.scopeOptions().Name {
			_ = os.Remove(above) // which fails if it is another scope's since
		}
	}
}

// scopeFile has, in a Keep's folder, the scope's Invocation.
const scopeFile = "scope"

// openScope finds the container's scope. Without one, the error is errors.ErrUnsupported, and where its name is another one's since,
// fs.ErrNotExist.
func (c *Container) openScope(ctx context.Context) (*cgroups.Scope, error) {
	if c.Scope == nil {
		return nil, errors.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, scopeEnd)
	defer cancel()
	s, err := cgroups.OpenScope(ctx, c.scopeOptions())
	if err != nil {
		return nil, err
	}
	invocation := c.invocation
	if c.Keep != nil {
		noted, err := c.noted(scopeFile)
		if err != nil {
			return nil, err
		}
		invocation = strings.Join(noted, "")
	}
	if s.Invocation != invocation {
		return nil, fmt.Errorf("scope %s is another one now: %w", s.Name, fs.ErrNotExist)
	}
	return s, nil
}

// updateScope puts the scope of a running container under other limits.
func (c *Container) updateScope(r *cgroups.Resources) error {
	if c.Scope == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), scopeEnd)
	defer cancel()
	s, err := c.openScope(ctx)
	if err != nil {
		return err
	}
	return c.limitScope(ctx, s, r)
}

// exceedsScope says whether the error of an update can be that on v1 a group has no greater share of the processors than the one above
// it: the scope's has to be raised first then, as it has to be lowered last.
func (c *Container) exceedsScope(r *cgroups.Resources, err error) bool {
	return c.Scope != nil && (r.CPUQuota != 0 || r.CPUPeriod != 0) && errors.Is(err, syscall.EINVAL)
}

func (c *Container) checkScope() error {
	o := c.Scope
	switch {
	case o == nil:
		return nil
	case c.NoCgroup:
		return wrong("Scope", "a scope is a control group, but NoCgroup is set")
	case c.Cgroup != "":
		return wrong("Scope", "systemd chooses the control group, but Cgroup %q is set", c.Cgroup)
	case len(o.PIDs) > 0:
		return wrong("Scope.PIDs", "the processes are the container's: leave it empty")
	case o.Resources != nil:
		return wrong("Scope.Resources", "the limits are the container's: leave it nil")
	case c.Keep != nil && o.Name == "":
		return wrong("Scope.Name", "a container that outlives the program is found again by its scope: give that a name")
	}
	probe := c.scopeOptions()
	probe.PIDs = []int{1}
	if err := probe.Validate(); err != nil {
		return wrong("Scope", "%w", err)
	}
	return nil
}
