package namespace

import (
	"path"

	"golang.org/x/sys/unix"
)

// nodes makes device nodes in a folder that is there already, or becomes a plain folder. What has such a name stays.
func (c *compiler) nodes(m *Mount, target string) {
	dir := c.root
	if target != "/" {
		dir = c.resolve(m, target)
		c.offKernel(m, dir, target)
	}
	standard := target == "/dev" && m.Data != existingNodes
	nodes := m.Nodes
	if standard {
		nodes = append(standardNodes[:len(standardNodes):len(standardNodes)], nodes...)
	}
	for i, d := range nodes {
		if !lastOfName(nodes[i:]) {
			continue
		}
		c.nodeUnlessThere(dir, target, d)
	}
	if standard {
		for _, l := range devLinks {
			c.call("symlinkat", unix.SYS_SYMLINKAT, c.str(l[1]), dir, c.str(l[0])).about("/dev/" + l[0])
			c.ignore(errnoSet(int(unix.EEXIST)))
		}
	}
	switch target {
	case "/dev":
	case "/":
		return
	default:
		c.close(dir)
		return
	}
	c.dev = dir
	if len(c.l.MaskedPaths) > 0 {
		c.null = c.variable("null", 8)
		c.openat(dir, "null", unix.O_PATH|unix.O_NOFOLLOW).to(c.null).about("/dev/null")
		c.checkNode(c.null, standardNodes[0], "/dev/null")
	}
}

// existingNodes is the Data of a folder in which nothing is made.
const existingNodes = "existing"

func lastOfName(nodes []Device) bool {
	for _, later := range nodes[1:] {
		if later.Path == nodes[0].Path {
			return false
		}
	}
	return true
}

// nodeUnlessThere makes a node. Nothing of the image is opened or changed by its name.
func (c *compiler) nodeUnlessThere(dir arg, target string, d Device) {
	about, skip := path.Join(target, d.Path), c.label()
	if c.user.bound && !d.FIFO {
		c.bindNode(dir, d, about)
		return
	}
	c.makeNode(dir, d, about).orElse(skip, errnoSet(int(unix.EEXIST)))
	if d.UID != 0 || d.GID != 0 {
		c.call("fchownat", unix.SYS_FCHOWNAT, dir, c.str(d.Path), num(int(d.UID)), num(int(d.GID)), num(unix.AT_SYMLINK_NOFOLLOW)).
			about(about)
	}
	c.place(skip)
}
