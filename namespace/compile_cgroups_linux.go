package namespace

import (
	"path"
	"strings"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// joinCgroups puts the process into its control groups, and takes the mounts of them that it will have.
func (c *compiler) joinCgroups() {
	for _, f := range c.l.CgroupTasks {
		c.call("write", unix.SYS_WRITE, c.file(f.Name(), useFile(f)), c.str("0"), num(1)).about(f.Name())
	}
	switch {
	case len(c.l.CgroupPaths) == 0:
	case c.l.waits(): // at a gate that is not for this
		c.awaitResume("CgroupPaths")
	default:
		c.gate()
	}
	folders := c.cloneCgroups()
	fd, zero, tasks := c.variable("tasks", 8), c.str("0"), ""
	for _, p := range c.l.CgroupPaths {
		if tasks = path.Base(p); folders[path.Dir(p)] != nil {
			c.openat(*folders[path.Dir(p)], tasks, unix.O_WRONLY).to(fd).about(p)
		} else {
			c.openat(num(atCWD), p, unix.O_WRONLY).to(fd)
		}
		c.call("write", unix.SYS_WRITE, fd, zero, num(1)).about(p)
		c.close(fd)
	}
}

// cloneCgroups clones the host's mounts of the groups that are to be mounted, as long as they are in reach. It returns the
// clones by folder.
func (c *compiler) cloneCgroups() map[string]*arg {
	c.groups = make([]arg, len(c.l.Mounts))
	folders := make(map[string]*arg, len(c.l.Mounts))
	for i := range c.l.Mounts {
		if m := &c.l.Mounts[i]; c.cloned(m) {
			c.groups[i] = c.openTree(m.Source, false)
			folders[m.Source] = &c.groups[i]
		}
	}
	return folders
}

// cloned says whether a mount of control groups is a clone of the host's.
func (c *compiler) cloned(m *Mount) bool {
	return isCgroup(m) && path.IsAbs(m.Source) && kernel.MountSetattr.Err() == nil && !c.user.own && !c.user.pivot &&
		c.l.Namespaces.Cgroup.isNew()
}

func isCgroup(m *Mount) bool { return m.Type == "cgroup" || m.Type == "cgroup2" }

// freshAbove returns the tmpfs whose root mount i goes right below, if it is among the mounts, none before i may cover it,
// and the mount is one of control groups: of these there may be a dozen in a folder of their own. They are reached by the
// tmpfs's descriptor, in a fifth of the system calls that [compiler.resolve] takes: in the tmpfs there is nothing but what
// is made here, no link and no folder yet.
func (c *compiler) freshAbove(i int) *arg {
	m := &c.l.Mounts[i]
	if !isCgroup(m) {
		return nil
	}
	dir := path.Dir(path.Clean(m.Target))
	var above *arg
	for k := range c.l.Mounts[:i] {
		m := &c.l.Mounts[k]
		target := path.Clean(m.Target)
		switch {
		case target == dir && m.Type == "tmpfs" && !m.CopyUp:
			above = &c.mounted[k]
		case target == dir, strings.HasPrefix(dir, strings.TrimSuffix(target, "/")+"/"):
			above = nil
		}
	}
	return above
}

// attachBelow attaches a mount to a folder, which it makes, of the tmpfs that freshAbove has found.
func (c *compiler) attachBelow(fd, above arg, target string) {
	name := path.Base(target)
	c.call("mkdirat", unix.SYS_MKDIRAT, above, c.str(name), octal(0o755)).about(target)
	c.ignore(errnoSet(int(unix.EEXIST)))
	c.moveMount(fd, above, name).about(target)
}
