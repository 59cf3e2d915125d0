package namespace

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// join enters the namespaces that exist. The PID namespace is not among them: it holds for children only, so Start does it.
func (c *compiler) join() {
	n := &c.l.Namespaces
	for _, x := range []struct {
		name string
		ns   Namespace
		flag uint64
	}{
		{"network", n.Network, unix.CLONE_NEWNET}, {"ipc", n.IPC, unix.CLONE_NEWIPC}, {"uts", n.UTS, unix.CLONE_NEWUTS},
		{"cgroup", n.Cgroup, unix.CLONE_NEWCGROUP}, {"time", n.Time, unix.CLONE_NEWTIME}, {"mount", n.Mount, unix.CLONE_NEWNS},
	} {
		if x.ns.Join != nil {
			fd := c.file(x.name+" namespace", useFile(x.ns.Join))
			c.call("setns", unix.SYS_SETNS, fd, flags(x.flag, cloneNames)).about(x.name + " namespace")
		}
	}
	if p := c.l.Prepared; p.hasNetwork() {
		c.call("setns", unix.SYS_SETNS, c.file("network namespace", p.takeNetwork), flags(unix.CLONE_NEWNET, cloneNames)).about("network namespace")
	}
	if l := c.l; l.Root == nil && n.Cgroup.isNew() && !c.user.own {
		c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWCGROUP, cloneNames))
	}
}

func (c *compiler) hostname() {
	if n := c.l.Hostname; n != "" {
		c.call("sethostname", unix.SYS_SETHOSTNAME, c.str(n), num(len(n))).about(n)
	}
	if n := c.l.Domainname; n != "" {
		c.call("setdomainname", unix.SYS_SETDOMAINNAME, c.str(n), num(len(n))).about(n)
	}
}

// loopback sets lo up in a new network namespace.
func (c *compiler) loopback() {
	if !c.l.Namespaces.Network.isNew() || c.l.Prepared.hasNetwork() {
		return
	}
	req := loopbackUp()
	s := c.variable("sock", 8)
	c.call("socket", unix.SYS_SOCKET, num(unix.AF_UNIX), num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), num(0)).to(s)
	c.call("ioctl", unix.SYS_IOCTL, s, flags(unix.SIOCSIFFLAGS, ioctlNames), c.bytes(req[:], "{lo, IFF_UP}")).about("lo")
	c.close(s)
}

// loopbackUp is the struct ifreq by which lo is set up.
func loopbackUp() (req [40]byte) {
	copy(req[:], "lo")
	binary.NativeEndian.PutUint16(req[16:], unix.IFF_UP)
	return req
}

// sysctls are written through the container's own proc, before it becomes read-only.
func (c *compiler) sysctls() {
	for _, s := range c.l.Sysctls {
		name := s.Name
		if !strings.Contains(name, "/") {
			name = strings.ReplaceAll(name, ".", "/")
		}
		proc := c.kernelAt("/proc")
		fd := c.variable("sysctl", 8)
		c.openKernel(proc, "sys/"+name, unix.O_WRONLY).to(fd)
		c.call("write", unix.SYS_WRITE, fd, c.str(s.Value), num(len(s.Value))).about("/proc/sys/" + name)
		c.close(fd)
	}
}
