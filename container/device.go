package container

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

func (d *Device) target() string {
	if d.Target != "" {
		return d.Target
	}
	return d.Source
}

// addDevices adds the nodes of Devices and Nodes, or of all devices if the container is privileged, to the mount of /dev.
func (c *Container) addDevices(mounts []Mount) error {
	if len(c.Devices)+len(c.Nodes) == 0 && !c.Privileged {
		return nil
	}
	i := slices.IndexFunc(mounts, func(m Mount) bool { return m.Type == "dev" })
	if i < 0 {
		if len(c.Devices)+len(c.Nodes) == 0 {
			return nil
		}
		return wrong("Devices", "another mount takes the place of /dev: remove it from Mounts")
	}
	nodes := slices.Clone(mounts[i].Nodes)
	if c.Privileged {
		nodes = append(nodes, hostDevices()...)
	}
	for _, d := range c.Devices {
		node, err := namespace.DeviceAt(d.Source)
		if err != nil {
			return &StartError{Step: "look up device", Path: d.Source, Err: err}
		}
		node.Path = strings.TrimPrefix(d.target(), "/dev/")
		if d.Mode != 0 {
			node.Mode = d.Mode
		}
		nodes = append(nodes, node)
	}
	for _, d := range c.Nodes {
		node := namespace.Device{
			Path: strings.TrimPrefix(d.Path, "/dev/"), Block: d.Type == "b", FIFO: d.Type == "p",
			Major: uint32(d.Major), Minor: uint32(d.Minor),
		}
		if d.FileMode != nil {
			node.Mode = d.FileMode.Perm()
		}
		if d.UID != nil {
			node.UID = *d.UID
		}
		if d.GID != nil {
			node.GID = *d.GID
		}
		nodes = append(nodes, node)
	}
	mounts[i].Nodes = nodes
	return nil
}

// deviceRules returns the rules of the devices control group, nil for the default ones.
func (c *Container) deviceRules() []cgroups.DeviceRule {
	if len(c.Devices)+len(c.DeviceRules) == 0 || c.Privileged {
		return nil
	}
	rules := cgroups.DefaultDevices()
	for _, d := range c.Devices {
		node, err := namespace.DeviceAt(d.Source)
		if err != nil {
			continue // addDevices has looked and reports it
		}
		kind := byte('c')
		if node.Block {
			kind = 'b'
		}
		rules = append(rules, cgroups.DeviceRule{
			Allow: true, Type: kind, Major: int64(node.Major), Minor: int64(node.Minor), Access: d.Permissions,
		})
	}
	return append(rules, c.DeviceRules...)
}

// standardDevices are in every container.
var standardDevices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// hostDevices returns the device nodes below the host's /dev that are not the container's own affair.
func hostDevices() []namespace.Device {
	var all []namespace.Device
	_ = filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, "/dev/")
		switch {
		case err != nil:
			return nil // it went away
		case d.IsDir() && slices.Contains([]string{"pts", "shm", "mqueue", "fd"}, name):
			return fs.SkipDir
		case d.Type()&fs.ModeDevice == 0 || name == "console" || name == "ptmx" || slices.Contains(standardDevices, name):
			return nil
		}
		if node, err := namespace.DeviceAt(path); err == nil {
			node.Path = name
			all = append(all, node)
		}
		return nil
	})
	return all
}
