package container

import (
	"errors"
	"io/fs"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// A Support says whether the machine lets the program use a feature, and if not, why and what would help.
type Support = namespace.Support

// Supported looks at what the machine lets the program do: what [namespace.Supported] says, and "control groups", without
// which there are no limits. It tries, which takes some milliseconds and leaves nothing.
func Supported() []Support {
	s := Support{Feature: "control groups", Available: true}
	if err := tryGroup(); err != nil {
		s = Support{Feature: s.Feature, Reason: err.Error()}
		if errors.Is(err, fs.ErrPermission) {
			s.Fix = "run the program as root, or on cgroup v2 by systemd-run --user --scope -p Delegate=yes"
		}
	}
	return append(namespace.Supported(), s)
}

// tryGroup makes a control group and removes it.
func tryGroup() error {
	m, err := manager()
	if err != nil {
		return err
	}
	g, err := m.Create("caisson-"+randomName(), &cgroups.Resources{})
	if err != nil {
		return err
	}
	defer g.Close()
	return g.Remove()
}
