package cdi

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// Apply gives the container the devices: it adds to its Env, Devices, Nodes, DeviceRules, Mounts and Groups. What was there of the same name or at
// the same path gives way. The container is not changed if there is an error: a name that is not there satisfies fs.ErrNotExist; hooks,
// network devices and Intel RDT, which are not implemented, errors.ErrUnsupported.
func (d *Devices) Apply(to *container.Container, names ...string) error {
	try := &container.Container{
		Process: container.Process{Env: slices.Clone(to.Env), Groups: slices.Clone(to.Groups)}, Privileged: to.Privileged,
		Mounts: slices.Clone(to.Mounts), Devices: slices.Clone(to.Devices), Nodes: slices.Clone(to.Nodes),
		DeviceRules: slices.Clone(to.DeviceRules),
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
			if err := e.apply(try); err != nil {
				return fmt.Errorf("CDI device %s of %s: %w", name, d.devices[name].path, err)
			}
		}
	}
	to.Env, to.Groups, to.Mounts, to.Devices, to.Nodes, to.DeviceRules = try.Env, try.Groups, try.Mounts, try.Devices, try.Nodes, try.DeviceRules
	return nil
}

func (e *Edits) apply(to *container.Container) error {
	for _, x := range []struct {
		field string
		there bool
	}{{"hooks", len(e.Hooks) > 0}, {"netDevices", len(e.NetDevices) > 0}, {"intelRdt", e.IntelRDT != nil}} {
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
