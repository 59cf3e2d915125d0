package namespace

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// credentials gives up what the process shall not have. Loading a seccomp filter takes CAP_SYS_ADMIN or no_new_privs:
// with new privileges allowed, the filter comes before the capabilities go and the steps after it must pass it, otherwise last.
func (c *compiler) credentials() {
	l := c.l
	prctl := func(op uint64, a, b int) *step {
		return c.call("prctl", unix.SYS_PRCTL, flags(op, prctlNames), num(a), num(b), num(0), num(0))
	}
	if !l.KeepKeyring {
		c.keyring()
	}
	prctl(unix.PR_SET_SECUREBITS, 0, 0)
	c.ignore(errnoSet(int(unix.EPERM)))
	for n := range LastCapability() + 1 {
		if l.Capabilities.Bounding>>n&1 == 0 {
			c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_CAPBSET_DROP, prctlNames), capability(n), num(0), num(0), num(0)).
				about(n.String())
		}
	}
	if l.NewPrivileges {
		c.seccomp()
	}
	kept := l.Capabilities.Effective | l.Capabilities.Permitted | l.Capabilities.Inheritable
	if l.User.UID != 0 && kept != 0 {
		prctl(unix.PR_SET_KEEPCAPS, 1, 0)
	}
	groups := make([]byte, 4*len(l.User.Groups))
	for i, g := range l.User.Groups {
		binary.NativeEndian.PutUint32(groups[4*i:], g)
	}
	c.call("setgroups", unix.SYS_SETGROUPS, num(len(l.User.Groups)), c.bytes(groups, fmt.Sprint(l.User.Groups)))
	c.mayKeepGroups()
	gid, uid := num(int(l.User.GID)), num(int(l.User.UID))
	c.call("setresgid", unix.SYS_SETRESGID, gid, gid, gid).about(fmt.Sprint(l.User.GID))
	c.call("setresuid", unix.SYS_SETRESUID, uid, uid, uid).about(fmt.Sprint(l.User.UID))
	c.capset()
	if l.Capabilities.Ambient != 0 {
		for n := range LastCapability() + 1 {
			if l.Capabilities.Ambient>>n&1 != 0 {
				c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_CAP_AMBIENT, prctlNames),
					flags(unix.PR_CAP_AMBIENT_RAISE, ambientNames), capability(n),
					num(0), num(0)).about(n.String())
			}
		}
	}
	if !l.NewPrivileges {
		prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	}
}

func capability(n Capability) arg { return arg{kind: argInt, v: uint64(n), text: n.String()} }

// keyring gives the process a session keyring of its own, where the kernel has keyrings and room for one.
func (c *compiler) keyring() {
	c.call("keyctl", unix.SYS_KEYCTL, arg{kind: argInt, v: unix.KEYCTL_JOIN_SESSION_KEYRING, text: "KEYCTL_JOIN_SESSION_KEYRING"}, null)
	c.ignore(anyError)
}

func (c *compiler) capset() {
	k := &c.l.Capabilities
	prctl := c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_CAP_AMBIENT, prctlNames),
		flags(unix.PR_CAP_AMBIENT_CLEAR_ALL, ambientNames), num(0), num(0), num(0))
	prctl.about("ambient capabilities")
	// With uid 0 the sets are full here; with another they were kept, or are empty and nothing is to be set.
	header := c.bytes([]byte{0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0}, "{_LINUX_CAPABILITY_VERSION_3, 0}")
	var d [24]byte
	for i := range 2 {
		for j, set := range []CapabilitySet{k.Effective, k.Permitted, k.Inheritable} {
			binary.NativeEndian.PutUint32(d[12*i+4*j:], uint32(uint64(set)>>(32*i)))
		}
	}
	text := fmt.Sprintf("{effective=%#x, permitted=%#x, inheritable=%#x}",
		uint64(k.Effective), uint64(k.Permitted), uint64(k.Inheritable))
	c.call("capset", unix.SYS_CAPSET, header, c.bytes(d[:], text)).about(text)
}
