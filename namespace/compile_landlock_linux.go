package namespace

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// The rights that a LandlockAccess stands for, and those that a rule for a file that is no folder can have.
const (
	landlockReads = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockMakes = unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	landlockWrites = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | landlockMakes
	landlockFolder = landlockMakes | unix.LANDLOCK_ACCESS_FS_READ_DIR
)

func (a LandlockAccess) rights() (r uint64) {
	for _, x := range []struct {
		access LandlockAccess
		rights uint64
	}{
		{LandlockRead, landlockReads}, {LandlockWrite, landlockWrites}, {LandlockExecute, unix.LANDLOCK_ACCESS_FS_EXECUTE},
		{LandlockIoctl, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
	} {
		if a&x.access != 0 {
			r |= x.rights
		}
	}
	return r
}

// landlockSteps are what each ABI version brought.
var landlockSteps = []struct {
	abi       int
	since     string
	what      string
	fs, net   uint64
	scopes    uint64
	attrBytes int
}{
	{1, "5.13", "files", (landlockReads | landlockWrites | unix.LANDLOCK_ACCESS_FS_EXECUTE) &^
		(unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE), 0, 0, 8},
	{2, "5.19", "moving files between folders", unix.LANDLOCK_ACCESS_FS_REFER, 0, 0, 8},
	{3, "6.2", "truncation of files", unix.LANDLOCK_ACCESS_FS_TRUNCATE, 0, 0, 8},
	{4, "6.7", "TCP ports", 0, unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, 0, 16},
	{5, "6.10", "ioctl(2) on devices", unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, 0, 0, 16},
	{6, "6.12", "abstract sockets and signals", 0, 0,
		unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL, 24},
}

// handled are the rights that a ruleset takes away with kernels of the ABI version.
func (l *Landlock) handled(abi int) (fs, net, scopes uint64, attrBytes int, err error) {
	for _, s := range landlockSteps {
		sFS, sNet, sScopes := s.fs, s.net, s.scopes
		if l.AnyFile {
			sFS = 0
		}
		if l.AnyPort {
			sNet = 0
		}
		if l.Unscoped {
			sScopes = 0
		}
		if s.abi == 2 && abi < 2 {
			continue // what is not handled is denied here
		}
		if sFS|sNet|sScopes == 0 {
			continue
		}
		if s.abi > abi {
			if l.BestEffort {
				continue
			}
			return 0, 0, 0, 0, fmt.Errorf("restricting %s needs Linux %s (Landlock ABI %d, this kernel has %d; BestEffort does without): %w",
				s.what, s.since, s.abi, abi, errors.ErrUnsupported)
		}
		fs, net, scopes = fs|sFS, net|sNet, scopes|sScopes
		attrBytes = s.attrBytes
	}
	return fs, net, scopes, attrBytes, nil
}

// landlock makes the rules, with paths opened inside the root, and restricts the process. It takes CAP_SYS_ADMIN, which goes
// later, or no_new_privs. Nothing after it opens a file but the execution of the command.
func (c *compiler) landlock() error {
	l := c.l.Landlock
	if l == nil {
		return nil
	}
	fs, net, scopes, attrBytes, err := l.handled(kernel.LandlockABI())
	if err != nil {
		return bad("Landlock", "%w", err)
	}
	if fs|net|scopes == 0 {
		return nil
	}
	rules := c.variable("ruleset", 8)
	text := fmt.Sprintf("{fs=%#x, net=%#x, scopes=%#x}", fs, net, scopes)
	c.call("landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, c.words(text, fs, net, scopes), num(attrBytes), num(0)).
		to(rules).about("Landlock")
	for i := range l.Files {
		c.landlockFiles(&l.Files[i], rules, fs)
	}
	if net != 0 {
		c.landlockPorts(rules, l.Bind, unix.LANDLOCK_ACCESS_NET_BIND_TCP)
		c.landlockPorts(rules, l.Connect, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP)
	}
	if !c.l.NewPrivileges { // it is to come anyway, and then CAP_SYS_ADMIN is not needed
		c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NO_NEW_PRIVS, prctlNames), num(1), num(0), num(0), num(0))
	}
	c.call("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, rules, num(0)).about("Landlock")
	c.close(rules)
	return nil
}

// landlockFiles adds the rule for a path. The kernel refuses rights of folders for what is none: then it is the others.
func (c *compiler) landlockFiles(f *LandlockFiles, rules arg, handled uint64) {
	rights := f.Access.rights() & handled
	if rights == 0 {
		return // a right that this kernel does not know, so does not deny either
	}
	fd, attr := c.variable("path", 8), c.variable("beneath", 16)
	isFile, added, end := c.label(), c.label(), c.label()
	opened := c.openat(num(atCWD), f.Path, unix.O_PATH).to(fd)
	if f.Optional {
		opened.orElse(end, errnoSet(int(unix.ENOENT), int(unix.ENOTDIR)))
	}
	add := func(rights uint64) *step {
		c.op(opSet, arg{kind: argHex, v: rights}).to(attr)
		c.op(opSet, fd).to(attr.at(8))
		return c.call("landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, rules,
			arg{kind: argInt, v: unix.LANDLOCK_RULE_PATH_BENEATH, text: "LANDLOCK_RULE_PATH_BENEATH"}, attr.addr(), num(0)).about(f.Path)
	}
	if plain := rights &^ landlockFolder; plain != rights {
		add(rights).goTo(added).orElse(isFile, errnoSet(int(unix.EINVAL)))
		c.place(isFile)
		rights = plain
	}
	if rights != 0 {
		add(rights)
	}
	c.place(added)
	c.close(fd)
	c.place(end)
}

func (c *compiler) landlockPorts(rules arg, ports []uint16, right uint64) {
	for _, p := range slices.Compact(slices.Sorted(slices.Values(ports))) {
		c.call("landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, rules,
			arg{kind: argInt, v: 2, text: "LANDLOCK_RULE_NET_PORT"},
			c.words(fmt.Sprintf("{rights=%#x, port %d}", right, p), right, uint64(p)), num(0)).about(fmt.Sprintf("TCP port %d", p))
	}
}
