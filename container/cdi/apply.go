package cdi

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/namespace"
)

// Apply gives the container the devices: it adds to its Env, Devices, Nodes, DeviceRules, Mounts, Groups and Hooks. What was there of the same name or at
// the same path gives way. The container is not changed if there is an error: a name that is not there satisfies fs.ErrNotExist; network
// devices and Intel RDT, which are not implemented, errors.ErrUnsupported; hooks, which the host program executes, of a file that somebody else than root
// and the program's user may write, fs.ErrPermission.
func (d *Devices) Apply(to *container.Container, names ...string) error {
	try := &container.Container{
		Process: container.Process{Env: slices.Clone(to.Env), Groups: slices.Clone(to.Groups)}, Privileged: to.Privileged,
		Mounts: slices.Clone(to.Mounts), Devices: slices.Clone(to.Devices), Nodes: slices.Clone(to.Nodes),
		DeviceRules: slices.Clone(to.DeviceRules), Hooks: cloneHooks(to.Hooks),
	}
	done := make(map[*Edits]bool)
	for _, name := range names {
		device, file, err := d.Find(name)
		if err != nil {
			return err
		}
		for _, e := range []*Edits{&file.Edits, &device.Edits} {
			if done[e] {
				continue
			}
			done[e] = true
			err := d.devices[name].mayHook(e)
			if err == nil {
				err = e.apply(try)
			}
			if err != nil {
				return fmt.Errorf("CDI device %s of %s: %w", name, d.devices[name].path, err)
			}
		}
	}
	to.Env, to.Groups, to.Mounts, to.Devices, to.Nodes, to.DeviceRules = try.Env, try.Groups, try.Mounts, try.Devices, try.Nodes, try.DeviceRules
	to.Hooks = try.Hooks
	return nil
}

// cloneHooks is a copy that can be appended to.
func cloneHooks(h *specs.Hooks) *specs.Hooks {
	if h == nil {
		return nil
	}
	c := &specs.Hooks{}
	for _, kind := range hook.Kinds {
		*hook.Field(c, kind) = slices.Clone(hook.Of(h, kind))
	}
	return c
}

// mayHook says whether the edits of a file may have hooks: who writes the file has the host program execute what he likes.
func (f found) mayHook(e *Edits) error {
	if len(e.Hooks) == 0 || f.writer == "" {
		return nil
	}
	return fmt.Errorf("containerEdits.hooks: %w: %s", fs.ErrPermission, f.writer)
}

func (e *Edits) apply(to *container.Container) error {
	for _, x := range []struct {
		field string
		there bool
	}{{"netDevices", len(e.NetDevices) > 0}, {"intelRdt", e.IntelRDT != nil}} {
		if x.there {
			return fmt.Errorf("containerEdits.%s: not implemented: %w", x.field, errors.ErrUnsupported)
		}
	}
	to.Env = append(to.Env, e.Env...)
	for _, gid := range e.AdditionalGIDs {
		if g := fmt.Sprint(gid); gid != 0 && !slices.Contains(to.Groups, g) {
			to.Groups = append(to.Groups, g)
		}
	}
	for i, m := range e.Mounts {
		mount := container.Mount{Type: m.Type, Source: m.HostPath, Target: m.ContainerPath}
		if err := mount.SetOptions(m.Options...); err != nil {
			return fmt.Errorf("containerEdits.%s.options: %w", index("mounts", i), err)
		}
		if mount.Type == "" {
			mount.Type = "bind"
		}
		to.Mounts = append(to.Mounts, mount)
	}
	for _, h := range e.Hooks {
		if to.Hooks == nil {
			to.Hooks = &specs.Hooks{}
		}
		list := hook.Field(to.Hooks, h.HookName)
		*list = append(*list, specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env, Timeout: h.Timeout})
	}
	for i := range e.Nodes {
		if err := e.Nodes[i].apply(to); err != nil {
			return err
		}
	}
	return nil
}

// apply adds a node. What the file does not say is as the host has it.
func (n *Node) apply(to *container.Container) error {
	to.Devices = slices.DeleteFunc(to.Devices, func(d container.Device) bool {
		return d.Target == n.Path || d.Target == "" && d.Source == n.Path
	})
	to.Nodes = slices.DeleteFunc(to.Nodes, func(d specs.LinuxDevice) bool { return d.Path == n.Path })

	host := n.HostPath
	if host == "" {
		host = n.Path
	}
	whole := n.Type == "p" || n.Type != "" && n.Major != 0
	have, err := namespace.DeviceAt(host)
	switch {
	case err != nil && !whole:
		return fmt.Errorf("containerEdits.deviceNodes: %w", err)
	case n.Type != "" && !whole && (n.Type == "b") != have.Block:
		return fmt.Errorf("containerEdits.deviceNodes: %s is not of type %s on the host: %w", host, n.Type, fs.ErrInvalid)
	case !whole && n.UID == nil && n.GID == nil && n.Permissions != noPermissions:
		// An ordinary user's container, which can make no nodes, has the host's bound.
		device := container.Device{Source: host, Target: n.Path, Permissions: n.Permissions}
		if n.FileMode != nil {
			device.Mode = *n.FileMode
		}
		to.Devices = append(to.Devices, device)
		return nil
	}
	d := specs.LinuxDevice{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor, FileMode: n.FileMode, UID: n.UID, GID: n.GID}
	if err == nil && d.FileMode == nil {
		d.FileMode = &have.Mode
	}
	if !whole {
		d.Type, d.Major, d.Minor = "c", int64(have.Major), int64(have.Minor)
		if have.Block {
			d.Type = "b"
		}
	}
	to.Nodes = append(to.Nodes, d)
	if d.Type != "p" && n.Permissions != noPermissions && !to.Privileged {
		kind := byte('c')
		if d.Type == "b" {
			kind = 'b'
		}
		to.DeviceRules = append(to.DeviceRules, cgroups.DeviceRule{Allow: true, Type: kind, Major: d.Major, Minor: d.Minor,
			Access: n.Permissions})
	}
	return nil
}
