package namespace

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// flagOptions are the names of flags, as mount(8) and OCI configurations have them, and whether they set the flag or clear
// it. With "r" in front they hold for the mounts below too.
var flagOptions = []flagOption{
	{"ro", ReadOnly, false}, {"rw", ReadOnly, true},
	{"nosuid", NoSuid, false}, {"suid", NoSuid, true},
	{"nodev", NoDev, false}, {"dev", NoDev, true},
	{"noexec", NoExec, false}, {"exec", NoExec, true},
	{"noatime", NoAtime, false}, {"atime", NoAtime, true},
	{"relatime", RelAtime, false}, {"norelatime", RelAtime, true},
	{"strictatime", StrictAtime, false}, {"nostrictatime", StrictAtime, true},
	{"nodiratime", NoDirAtime, false}, {"diratime", NoDirAtime, true},
	{"nosymfollow", NoSymfollow, false}, {"symfollow", NoSymfollow, true},
}

// A flagOption is the name of a flag, by which it is set or cleared.
type flagOption struct {
	name  string
	flag  MountFlags
	clear bool
}

func findFlagOption(name string) (o flagOption, ok bool) {
	if i := slices.IndexFunc(flagOptions, func(o flagOption) bool { return o.name == name }); i >= 0 {
		return flagOptions[i], true
	}
	return o, false
}

var propagationOptions = []string{"private", "slave", "shared", "unbindable"}

func findPropagation(name string) (p Propagation, ok bool) {
	switch name {
	case "private":
		return Private, true
	case "slave":
		return Slave, true
	case "shared":
		return Shared, true
	case "unbindable":
		return Unbindable, true
	}
	return p, false
}

// superOptions are those of a whole file system that every type has. The kernel ignores them for a bind.
var superOptions = []string{"sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"}

// ignoredOptions say nothing that is not so: defaults, what mount(8) itself reads, and what the kernel ignores.
var ignoredOptions = []string{
	"defaults", "silent", "loud", "iversion", "noiversion", "acl", "noacl", "auto", "noauto", "nouser", "nofail", "_netdev",
}

// SetOptions reads options in the way in which the OCI runtime specification 1.3 lists them for linux mounts ("rbind",
// "rro", "nosuid", "rslave", "size=64m") and puts them into the fields: Type ("bind" and "rbind"), Recursive, TopFlags and
// TopClear, Flags and Clear (the forms with r: "rro"), Propagation, CopyUp ("tmpcopyup"), and Data, which gets what it does not
// know. Of options that contradict each other the last one holds. Propagation with and without r ("rshared", "shared") is the
// same: it holds for the mounts below too. sync, dirsync, lazytime and mand are left out of a bind, for which the kernel
// ignores them.
//
// "idmap" and "ridmap" are not for SetOptions, and satisfy errors.ErrUnsupported; so does "remount", since a mount is made
// anew.
func (m *Mount) SetOptions(options ...string) error {
	var data []string
	if m.Data != "" {
		data = append(data, m.Data)
	}
	bind := m.Type == "bind"
	for _, o := range options {
		bind = bind || o == "bind" || o == "rbind"
	}
	if bind {
		m.Type = "bind"
	}
	for _, o := range options {
		switch {
		case o == "":
		case o == "bind":
		case o == "rbind":
			m.Recursive = true
		case o == "tmpcopyup":
			if m.Type != "tmpfs" {
				return fmt.Errorf("mount option tmpcopyup: the type is %q, not tmpfs", m.Type)
			}
			m.CopyUp = true
		case o == "remount" || o == "idmap" || o == "ridmap":
			return fmt.Errorf("mount option %s: %w", o, errors.ErrUnsupported)
		case m.setFlag(o) || m.setPropagation(o) || slices.Contains(ignoredOptions, o):
		case slices.Contains(superOptions, o) && bind:
		case strings.ContainsAny(o, ",\x00"):
			return fmt.Errorf("mount option %q holds a comma or a zero byte", o)
		default:
			data = append(data, o)
		}
	}
	m.Data = strings.Join(data, ",")
	return nil
}

func (m *Mount) setPropagation(option string) bool {
	p, ok := findPropagation(option)
	if !ok {
		p, ok = findPropagation(strings.TrimPrefix(option, "r"))
	}
	if ok {
		m.Propagation = p
	}
	return ok
}

func (m *Mount) setFlag(option string) bool {
	set, clear := &m.TopFlags, &m.TopClear
	x, ok := findFlagOption(option)
	if !ok {
		if x, ok = findFlagOption(strings.TrimPrefix(option, "r")); !ok || !strings.HasPrefix(option, "r") {
			return false
		}
		set, clear = &m.Flags, &m.Clear
	}
	if x.clear {
		*set, *clear = *set&^x.flag, *clear|x.flag
		return true
	}
	if x.flag&atimes != 0 { // one of them holds
		*set &^= atimes
	}
	*set, *clear = *set|x.flag, *clear&^x.flag
	return true
}

// atimes are the ways of keeping access times, of which a mount has one.
const atimes = NoAtime | RelAtime | StrictAtime

// String returns the flags as mount(8) has them: "ro,nosuid".
func (f MountFlags) String() string {
	var s []string
	for _, x := range []struct {
		flag MountFlags
		name string
	}{
		{ReadOnly, "ro"}, {NoSuid, "nosuid"}, {NoDev, "nodev"}, {NoExec, "noexec"}, {NoAtime, "noatime"}, {RelAtime, "relatime"},
		{StrictAtime, "strictatime"}, {NoDirAtime, "nodiratime"}, {NoSymfollow, "nosymfollow"},
	} {
		if f&x.flag != 0 {
			s = append(s, x.name)
		}
	}
	return strings.Join(s, ",")
}
