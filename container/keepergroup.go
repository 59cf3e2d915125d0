package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// A keeper has a control group of its own, beside the container's: its memory and that of the log, which it writes, are not
// the container's, and it is neither frozen nor killed with it. keeperSuffix is what its name has more than the
// container's, and keeperGroupsFile has its directories, as groupsFile has the container's.
const (
	keeperSuffix     = ".keeper"
	keeperGroupsFile = "keeper.groups"
)

// makeKeeperGroup makes the keeper's control group and puts it into the launch. done closes what the start needs of it.
func (c *Container) makeKeeperGroup(l *namespace.Launch, u *undo) (done func(), err error) {
	if c.Keep == nil || c.NoCgroup || c.ungrouped {
		return func() {}, nil
	}
	m, err := manager()
	if err != nil {
		return nil, &StartError{Step: "detect control groups", Err: err}
	}
	path := c.groupPath() + keeperSuffix
	fail := func(err error) error {
		return &StartError{Step: "create keeper's control group", Path: path, Err: err}
	}
	g, err := m.Create(path, nil)
	if err != nil {
		return nil, fail(err)
	}
	u.add(func() { _ = c.removeKeeperGroup(m) })
	kept := *c.Keep
	l.Keep = &kept
	if kept.CgroupDir, kept.CgroupTasks, err = g.Entry(); err == nil {
		err = c.note(keeperGroupsFile, g.Paths(), u)
	}
	if err == nil {
		kept.AtEnd, err = c.oomFile()
	}
	if err != nil {
		return nil, fail(errors.Join(err, g.Close()))
	}
	return func() { _ = errors.Join(g.Close(), kept.AtEnd.Close()) }, nil
}

// oomFile is what the keeper reads when the container has ended: systemd removes the groups of its scope as soon as the keeper has
// ended, too. It is nil where nobody does that.
func (c *Container) oomFile() (*os.File, error) {
	if c.Scope == nil {
		return nil, nil
	}
	f, err := c.group.OOMFile()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return f, err
}

// removeKeeperGroup removes the control group of a keeper that has ended or is about to.
func (c *Container) removeKeeperGroup(m *cgroups.Manager) error {
	g, err := c.openNoted(m, keeperGroupsFile, c.Cgroup+keeperSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), killed)
	defer cancel()
	return errors.Join(removeOrKill(ctx, g), g.Close())
}

func removeOrKill(ctx context.Context, g *cgroups.Group) error {
	err := g.Remove()
	if errors.Is(err, cgroups.ErrBusy) {
		err = errors.Join(g.Kill(ctx), g.Remove())
	}
	return err
}

// keeperEnded removes the control group of a keeper that has said how the container ended.
func (c *Container) keeperEnded() error {
	if c.Keep == nil || c.NoCgroup {
		return nil
	}
	m, err := manager()
	if err == nil {
		err = c.removeKeeperGroup(m)
	}
	if err != nil {
		return fmt.Errorf("keeper's control group: %w", err)
	}
	return nil
}
