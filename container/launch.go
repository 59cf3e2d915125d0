package container

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// randomName returns twelve hexadecimal digits.
func randomName() string {
	return fmt.Sprintf("%012x", rand.Uint64()>>16)
}

// launch translates the container into what package namespace starts, without files and control group.
func (c *Container) launch() (*namespace.Launch, error) {
	if err := c.findMappings(); err != nil {
		return nil, err
	}
	l, err := c.Process.launch(c, c.Root)
	if err != nil {
		return nil, err
	}
	l.Root, l.ReadOnlyRoot = c.Root, c.ReadOnlyRoot
	l.Namespaces, l.Keep, l.Init = c.Namespaces, c.Keep, c.Init
	l.UIDMappings, l.GIDMappings, l.TimeOffsets = c.uids, c.gids, c.TimeOffsets
	if c.rootUser != nil {
		l.UIDMappings, l.GIDMappings, l.Namespaces.User.Join = nil, nil, c.rootUser
	}
	l.RootIDMap = c.rootIDMap()
	l.Mounts = c.allMounts()
	if err := c.addDevices(l.Mounts); err != nil {
		return nil, err
	}
	l.RootPropagation, l.MountLabel = c.RootPropagation, c.MountLabel
	l.MaskedPaths, l.ReadOnlyPaths = c.hiddenPaths(l.Mounts)
	l.Hostname, l.Domainname = c.Hostname, c.Domainname
	if l.Hostname == "" && isNew(c.Namespaces.UTS) {
		l.Hostname = c.name
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sysctls)) {
		l.Sysctls = append(l.Sysctls, namespace.Sysctl{Name: name, Value: c.Sysctls[name]})
	}
	return l, nil
}

// launch translates what every process in c has. Users are looked up in root.
func (p *Process) launch(c *Container, root *namespace.Root) (*namespace.Launch, error) {
	name := p.User
	if name == "" {
		name = c.keptUser
	}
	user, err := root.LookupUser(name, p.Groups...)
	if err != nil {
		return nil, &StartError{Step: "look up user", Path: p.User, Err: err}
	}
	p.mapped = len(c.uids) > 0
	p.mappedGroups(user, c.gids)
	if err := c.checkMapped(user); err != nil {
		return nil, err
	}
	sets, err := p.capabilitySets(c.Privileged, user.UID)
	if err != nil {
		return nil, err
	}
	if c.NoCgroup && !c.Privileged {
		p.dropMknod(&sets)
	}
	l := &namespace.Launch{
		Args:          p.Args,
		Env:           p.environ(user.Home),
		Dir:           p.Dir,
		User:          *user,
		Umask:         p.Umask,
		Capabilities:  sets,
		NewPrivileges: p.NewPrivileges || c.Privileged,
		Rlimits:       p.Rlimits,
		OOMScoreAdj:   p.OOMScoreAdj,
		Attributes:    p.Attributes,
		ExtraFiles:    p.ExtraFiles,
		TTY:           p.TTY,
		TTYSize:       p.TTYSize,
	}
	return l, c.filter(l, sets.Bounding)
}

// createGroup makes the control group with its limits.
func (c *Container) createGroup() (*cgroups.Group, error) {
	m, err := manager()
	if err != nil {
		return nil, &StartError{Step: "detect control groups", Err: fmt.Errorf("%w; NoCgroup does without", err)}
	}
	path, r := c.groupPath(), c.resources()
	g, err := m.Create(path, r)
	var field *cgroups.ResourceError
	noSwap := errors.As(err, &field) && field.Field == "MemorySwap" && errors.Is(err, errors.ErrUnsupported)
	if noSwap && c.MemorySwap == 0 && c.Memory != 0 {
		r.MemorySwap = 0 // nobody asked for it, and the kernel does not account for swap
		g, err = m.Create(path, r)
	} else if err == nil && r.MemorySwap != 0 {
		swapCounted.Store(true)
	}
	if err != nil {
		return nil, c.groupError(path, err)
	}
	return g, nil
}

// groupPath is where the control group goes.
func (c *Container) groupPath() string {
	if c.scopeGroup != "" {
		return c.scopeGroup
	}
	if c.Cgroup != "" {
		return c.Cgroup
	}
	return "caisson-" + c.name
}

// groupError is the error of a start whose control group could not be made.
func (c *Container) groupError(path string, err error) error {
	var field *cgroups.ResourceError
	if errors.As(err, &field) {
		return &StartError{Step: "limit " + c.limitName(field.Field), Path: field.Value, Err: field.Err}
	}
	return &StartError{Step: "create control group", Path: path, Err: err}
}
