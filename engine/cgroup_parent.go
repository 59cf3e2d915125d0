package engine

import (
	"cmp"
	"crypto/rand"
	"errors"
	"os"
	"path"
	"strings"

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
	if !errors.Is(tryParent(m, ""), cgroups.ErrParentBusy) {
		return ""
	}
	shared := sharedParent
	if rootless() {
		shared = sibling()
	}
	if shared == "" || tryParent(m, shared) != nil {
		return ""
	}
	return shared
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

// keptParent returns the control group for containers that outlive the program. One below the program's own would end with
// the program's unit of systemd: that ends all processes below it (KillMode). "" says that there is no need of another one.
func (e *Engine) keptParent(c *Container) string {
	if c.Config.CgroupParent != "" || e.options.CgroupParent != "" {
		return "" // it was chosen
	}
	e.keptOnce.Do(func() {
		own, err := os.ReadFile("/proc/self/cgroup")
		if err == nil && systemdBooted() && inUnit(string(own)) {
			e.kept = chooseKeptParent()
		}
	})
	return e.kept
}

// systemdBooted says whether systemd is what started the machine: sd_booted(3).
func systemdBooted() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// inUnit says whether a process with this /proc/PID/cgroup is in a unit that can be stopped. A slice is none of them.
func inUnit(groups string) bool {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 || f[1] != "" && f[1] != "name=systemd" {
			continue
		}
		for name := range strings.SplitSeq(f[2], "/") {
			if strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope") {
				return true
			}
		}
	}
	return false
}

func chooseKeptParent() string {
	m, err := cgroups.Detect()
	if err != nil {
		return ""
	}
	defer func() { _ = m.Close() }()
	if tryParent(m, sharedParent) != nil {
		return "" // it may not be elsewhere
	}
	return sharedParent
}

// leaveUnit moves a process out of the program's unit of systemd, if it is in one.
func (e *Engine) leaveUnit(pid int) error {
	parent := e.keptParent(&Container{})
	if parent == "" {
		return nil
	}
	m, err := cgroups.Detect()
	if err != nil {
		return err
	}
	defer m.Close()
	g, err := m.Complete(path.Join(parent, "supervisor"))
	if err != nil {
		return err
	}
	return errors.Join(g.Add(pid), g.Close())
}

// keptCgroup is the name of the control group of a container that outlives the program.
func (e *Engine) keptCgroup(c *Container) string {
	if parent := e.keptParent(c); parent != "" {
		return path.Join(parent, "caisson-"+c.ShortID())
	}
	return e.cgroup(c)
}

// cgroup is the name of the container's control group.
func (e *Engine) cgroup(c *Container) string {
	return path.Join(cmp.Or(c.Config.CgroupParent, e.cgroupParent()), "caisson-"+c.ShortID())
}
