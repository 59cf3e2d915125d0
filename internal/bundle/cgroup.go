package bundle

import (
	"path"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

// Resources are the limits. Without rules for devices the default ones hold.
func (b *Bundle) Resources() (*cgroups.Resources, error) {
	r, err := container.SpecResources(b.Spec.Linux.Resources)
	if err != nil {
		return nil, ExplainLimit(err)
	}
	return r, nil
}

// A Unit is where systemd makes a container's control group.
type Unit struct{ Slice, Name string }

// CgroupPath is the path of the control group as cgroups.Manager takes it, by cgroupsPath or, without one, by the id: absolute
// below the root of the hierarchies, else below the program's own group.
func (b *Bundle) CgroupPath(id string) (string, error) {
	p := b.Spec.Linux.CgroupsPath
	if p == "" {
		return id, nil
	}
	absolute := path.IsAbs(p)
	clean := path.Clean("/" + p)
	if clean == "/" {
		return "", wrong("linux.cgroupsPath", "%q is not below the root", p)
	}
	if !absolute {
		clean = clean[1:]
	}
	return clean, nil
}

// CgroupUnit reads cgroupsPath in systemd's form, slice:prefix:name.
func (b *Bundle) CgroupUnit(id string) (Unit, error) {
	p := b.Spec.Linux.CgroupsPath
	if p == "" {
		return Unit{Name: "minirunc-" + id + ".scope"}, nil
	}
	f := strings.Split(p, ":")
	if len(f) != 3 {
		return Unit{}, wrong("linux.cgroupsPath", "%q is not slice:prefix:name, as systemd's groups are named", p)
	}
	u := Unit{Slice: f[0], Name: f[2]}
	if strings.HasSuffix(u.Name, ".slice") {
		return Unit{}, wrong("linux.cgroupsPath", "%q: a container in a slice of its own is not supported", p)
	}
	if f[1] != "" {
		u.Name = f[1] + "-" + u.Name
	}
	if !strings.HasSuffix(u.Name, ".scope") {
		u.Name += ".scope"
	}
	return u, nil
}
