package namespace

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// standardNodes are the devices of every container, those of the OCI runtime specification, "Default Devices".
var standardNodes = []Device{
	{Path: "null", Major: 1, Minor: 3}, {Path: "zero", Major: 1, Minor: 5}, {Path: "full", Major: 1, Minor: 7},
	{Path: "random", Major: 1, Minor: 8}, {Path: "urandom", Major: 1, Minor: 9}, {Path: "tty", Major: 5, Minor: 0},
}

// devLinks are the links of every container's /dev.
var devLinks = [][2]string{
	{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"}, {"ptmx", "pts/ptmx"},
}

// devices fills the container's /dev.
func (c *compiler) devices(m *Mount, dev arg) {
	mkdir := func(name string, mode uint32) *step {
		return c.call("mkdirat", unix.SYS_MKDIRAT, dev, c.str(name), octal(mode)).about("/dev/" + name)
	}
	for _, d := range []string{"pts", "shm", "mqueue"} {
		mkdir(d, 0o755)
	}
	shm := "mode=1777,size=65536k"
	if m.Data != "" {
		shm = "mode=1777," + m.Data
	}
	const strict = NoSuid | NoDev | NoExec
	for _, s := range []struct {
		name, typ, data string
		flags           MountFlags
	}{
		{"pts", "devpts", "newinstance,ptmxmode=0666,mode=0620" + c.ttyGroup(), NoSuid | NoExec},
		{"shm", "tmpfs", shm, strict},
		{"mqueue", "mqueue", "", strict},
	} {
		if s.name == "mqueue" && !c.owns(c.l.Namespaces.IPC) {
			continue // the host's queues are for whoever is root there
		}
		source := s.typ
		if s.name == "shm" {
			source = "shm"
		}
		fd := c.fileSystem(s.typ, source, s.data, s.flags)
		c.moveMount(fd, dev, s.name).about("/dev/" + s.name)
		c.close(fd)
	}
	made := map[string]bool{}
	nodes := append(standardNodes[:len(standardNodes):len(standardNodes)], m.Nodes...)
	for i, d := range nodes {
		if slices.ContainsFunc(nodes[i+1:], func(later Device) bool { return later.Path == d.Path }) {
			continue
		}
		for i := range d.Path {
			if d.Path[i] == '/' && !made[d.Path[:i]] {
				made[d.Path[:i]] = true
				mkdir(d.Path[:i], 0o755)
				c.ignore(errnoSet(int(unix.EEXIST)))
			}
		}
		c.node(dev, d)
	}
	if len(c.l.MaskedPaths) > 0 { // before another mount can be made over it
		c.null = c.variable("null", 8)
		c.openat(dev, "null", unix.O_PATH|unix.O_NOFOLLOW).to(c.null).about("/dev/null")
	}
	for _, l := range devLinks {
		c.call("symlinkat", unix.SYS_SYMLINKAT, c.str(l[1]), dev, c.str(l[0])).about("/dev/" + l[0])
	}
}

// ttyGroup is devpts's option for the group of terminals, if there is that group.
func (c *compiler) ttyGroup() string {
	const tty = 5
	if _, mapped := HostID(c.l.GIDMappings, tty); c.user.own && !mapped {
		return ""
	}
	return fmt.Sprintf(",gid=%d", tty)
}

func (c *compiler) node(dev arg, d Device) {
	if c.user.bound && !d.FIFO {
		c.bindNode(dev, d, "/dev/"+d.Path)
		return
	}
	c.makeNode(dev, d, "/dev/"+d.Path)
	if d.UID != 0 || d.GID != 0 {
		c.call("fchownat", unix.SYS_FCHOWNAT, dev, c.str(d.Path), num(int(d.UID)), num(int(d.GID)), num(0)).
			about("/dev/" + d.Path)
	}
}

// makeNode makes a node in a folder.
func (c *compiler) makeNode(dev arg, d Device, about string) *step {
	mode := uint32(d.Mode.Perm())
	if d.Mode == 0 {
		mode = 0o666
	}
	kind := uint32(unix.S_IFCHR)
	switch {
	case d.Block:
		kind = unix.S_IFBLK
	case d.FIFO:
		kind = unix.S_IFIFO
	}
	number := arg{kind: argInt, v: unix.Mkdev(d.Major, d.Minor), text: fmt.Sprintf("makedev(%d, %d)", d.Major, d.Minor)}
	return c.call("mknodat", unix.SYS_MKNODAT, dev, c.str(d.Path), octal(kind|mode), number).about(about)
}
