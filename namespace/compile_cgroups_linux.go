package namespace

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// freshAbove returns the tmpfs whose root mount i goes right below, if it is among the mounts, none before i may cover it,
// and the mount is one of control groups: of these there may be a dozen in a folder of their own. They are reached by the
// tmpfs's descriptor, in a fifth of the system calls that [compiler.resolve] takes: in the tmpfs there is nothing but what
// is made here, no link and no folder yet.
func (c *compiler) freshAbove(i int) *arg {
	m := &c.l.Mounts[i]
	if m.Type != "cgroup" && m.Type != "cgroup2" {
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
