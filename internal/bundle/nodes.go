package bundle

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/namespace"
)

// nodes makes the default devices and links, and those of linux.devices: after all mounts, each in its folder. In a /dev
// that is bound from the host nothing is made.
func (b *Bundle) nodes() ([]namespace.Mount, error) {
	dev := namespace.Mount{Type: "nodes", Target: "/dev"}
	bound := slices.ContainsFunc(b.Spec.Mounts, func(m specs.Mount) bool {
		return path.Clean(m.Destination) == "/dev" && (m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind"))
	})
	if bound {
		dev.Data = "existing"
	}
	all := []namespace.Mount{dev}
	for i, d := range b.Spec.Linux.Devices {
		field := index("linux.devices", i)
		p := path.Clean(d.Path)
		n := namespace.Device{Path: path.Base(p), Block: d.Type == "b", FIFO: d.Type == "p", Major: uint32(d.Major), Minor: uint32(d.Minor), Source: p}
		switch {
		case !path.IsAbs(d.Path) || p == "/":
			return nil, wrong(field+".path", "%q is not an absolute path", d.Path)
		case !strings.Contains("bcup", d.Type) || len(d.Type) != 1:
			return nil, wrong(field+".type", "%q is not b, c, u or p", d.Type)
		case d.Type != "p" && (d.Major < 0 || d.Major >= 1<<32):
			return nil, wrong(field+".major", "%d is not the number of a device", d.Major)
		case d.Type != "p" && (d.Minor < 0 || d.Minor >= 1<<32):
			return nil, wrong(field+".minor", "%d is not the number of a device", d.Minor)
		}
		if d.FileMode != nil {
			n.Mode = d.FileMode.Perm()
		}
		if d.UID != nil {
			n.UID = *d.UID
		}
		if d.GID != nil {
			n.GID = *d.GID
		}
		if bound && (p == "/dev" || strings.HasPrefix(p, "/dev/")) {
			continue
		}
		k := slices.IndexFunc(all, func(m namespace.Mount) bool { return m.Target == path.Dir(p) })
		if k < 0 {
			k = len(all)
			all = append(all, namespace.Mount{Type: "nodes", Target: path.Dir(p)})
		}
		all[k].Nodes = append(all[k].Nodes, n)
	}
	return all, nil
}
