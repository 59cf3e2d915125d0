package engine

import (
	"cmp"
	"crypto/rand"
	"errors"
	"path"

	"github.com/caisson-engine/caisson/cgroups"
)

// sharedParent is the control group below which containers are where they cannot be below the program's own.
const sharedParent = "/caisson"

// cgroupParent returns the control group that containers' groups are made in, as [Options].CgroupParent says it.
func (e *Engine) cgroupParent() string {
	if e.options.CgroupParent != "" {
		return e.options.CgroupParent
	}
	e.parentOnce.Do(func() { e.parent = chooseParent() })
	return e.parent
}

// chooseParent finds out where groups with limits can be made: below the program's own group, else below sharedParent. Where
// neither can be, it is the former, and who asks for a limit gets the error.
func chooseParent() string {
	m, err := cgroups.Detect()
	if err != nil {
		return ""
	}
	defer func() { _ = m.Close() }()
	if m.Mode() != cgroups.V2 {
		return "" // every group may have processes and groups
	}
	if !errors.Is(tryParent(m, ""), cgroups.ErrParentBusy) || tryParent(m, sharedParent) != nil {
		return ""
	}
	return sharedParent
}

// tryParent makes a group with a limit below the parent, and removes it.
func tryParent(m *cgroups.Manager, parent string) error {
	g, err := m.Create(path.Join(parent, "caisson-try-"+rand.Text()), &cgroups.Resources{Pids: 1})
	if err != nil {
		return err
	}
	defer g.Close()
	return g.Remove()
}

// cgroup is the name of the container's control group.
func (e *Engine) cgroup(c *Container) string {
	return path.Join(cmp.Or(c.Config.CgroupParent, e.cgroupParent()), "caisson-"+c.ShortID())
}
