package engine

import (
	"cmp"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

// Managers of control groups, as [Options].CgroupManager and [Config].CgroupManager have them.
const (
	cgroupfs = "cgroupfs"
	systemd  = "systemd"
)

func checkManager(name string) error {
	switch name {
	case "", cgroupfs, systemd:
		return nil
	}
	return invalid("CgroupManager %q: it is %q or %q", name, cgroupfs, systemd)
}

// prepareManager writes into the configuration who makes the container's control group, and where: programs with other options see
// to the container later.
func (e *Engine) prepareManager(cfg *Config) error {
	if err := checkManager(cfg.CgroupManager); err != nil {
		return err
	}
	if cmp.Or(cfg.CgroupManager, e.options.CgroupManager) != systemd {
		return nil
	}
	cfg.CgroupManager = systemd
	cfg.CgroupParent = cmp.Or(cfg.CgroupParent, e.options.CgroupParent)
	if p := cfg.CgroupParent; p != "" && !strings.HasSuffix(p, ".slice") {
		return invalid("CgroupParent %q: with systemd it is a slice, such as \"machine.slice\"", p)
	}
	return nil
}

// scope has systemd make the container's control group, if it is to.
func (rec *Container) scope(c *container.Container) {
	if rec.Config.CgroupManager != systemd {
		return
	}
	c.Cgroup = ""
	c.Scope = &cgroups.ScopeOptions{
		Name: "caisson-" + rec.ShortID() + ".scope", Slice: rec.Config.CgroupParent,
		Description: "container " + rec.ID, User: rootless(),
	}
}
