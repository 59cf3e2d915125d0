package bundle

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/namespace"
)

func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// namespaces says which are new, which are joined, and, if they are not named, which are the program's own.
func (b *Bundle) namespaces(l *Launch) error {
	n := &l.Namespaces
	host := namespace.Namespace{Host: true}
	*n = namespace.Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host}
	linux := b.Spec.Linux
	newUser, newTime := false, false
	for i, x := range linux.Namespaces {
		to := NamespaceOf(n, x.Type)
		field := index("linux.namespaces", i)
		if to == nil {
			return wrong(field+".type", "there is no namespace %q", x.Type)
		}
		if slices.ContainsFunc(linux.Namespaces[:i], func(o specs.LinuxNamespace) bool { return o.Type == x.Type }) {
			return wrong(field+".type", "%q is there twice", x.Type)
		}
		*to = namespace.Namespace{}
		if x.Path == "" {
			newUser, newTime = newUser || x.Type == specs.UserNamespace, newTime || x.Type == specs.TimeNamespace
			continue
		}
		f, err := openNamespace(x.Path, x.Type)
		if err != nil {
			return wrong(field+".path", "%w", err)
		}
		l.files = append(l.files, f)
		to.Join = f
	}
	if n.Mount.Host || n.Mount.Join != nil { // the mounts are made where the root is
		l.BeforeRoot = func(*namespace.Process) error { return nil }
	}
	if err := b.userNamespace(l, newUser); err != nil {
		return err
	}
	return b.timeNamespace(l, newTime)
}

// HasNamespace says whether the container has a namespace of the kind that is not the program's: a new one, or a joined one.
func (b *Bundle) HasNamespace(kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(b.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

// NewNamespace says whether the container gets a new namespace of the kind.
func (b *Bundle) NewNamespace(kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(b.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind && n.Path == "" })
}

// SeemsNetworked says, of a configuration that is not parsed yet, whether the container gets a new network namespace. It may err.
func SeemsNetworked(config []byte) bool {
	for {
		_, after, found := bytes.Cut(config, []byte(`"network"`)) // the type; behind it there would be the path
		if !found {
			return false
		}
		if config = bytes.TrimLeft(after, " \t\r\n"); len(config) > 0 && config[0] == '}' {
			return true
		}
	}
}

// NamespaceOf returns the field of a kind of namespace, nil if there is no such kind.
func NamespaceOf(n *namespace.Namespaces, kind specs.LinuxNamespaceType) *namespace.Namespace {
	switch kind {
	case specs.MountNamespace:
		return &n.Mount
	case specs.PIDNamespace:
		return &n.PID
	case specs.NetworkNamespace:
		return &n.Network
	case specs.IPCNamespace:
		return &n.IPC
	case specs.UTSNamespace:
		return &n.UTS
	case specs.CgroupNamespace:
		return &n.Cgroup
	case specs.UserNamespace:
		return &n.User
	case specs.TimeNamespace:
		return &n.Time
	}
	return nil
}

// openNamespace opens a namespace, and makes sure that it is one of that kind.
func openNamespace(path string, kind specs.LinuxNamespaceType) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := checkNamespace(f, kind); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (b *Bundle) userNamespace(l *Launch, isNew bool) error {
	linux := b.Spec.Linux
	switch {
	case !isNew && l.Namespaces.User.Join != nil:
		return b.joinedMappings(l.Namespaces.User.Join)
	case !isNew && len(linux.UIDMappings) > 0:
		return wrong("linux.uidMappings", "there is no new namespace of the type user")
	case !isNew && len(linux.GIDMappings) > 0:
		return wrong("linux.gidMappings", "there is no new namespace of the type user")
	case !isNew:
		return nil
	case len(linux.UIDMappings) == 0:
		return wrong("linux.uidMappings", "a new user namespace needs some")
	case len(linux.GIDMappings) == 0:
		return wrong("linux.gidMappings", "a new user namespace needs some")
	}
	l.UIDMappings, l.GIDMappings = mappings(linux.UIDMappings), mappings(linux.GIDMappings)
	return nil
}

// joinedMappings makes sure that the maps, if there are some, are those that a joined user namespace has: pods of Kubernetes pass
// both, and runc takes that, too, as long as they agree.
func (b *Bundle) joinedMappings(ns *os.File) error {
	linux := b.Spec.Linux
	if len(linux.UIDMappings)+len(linux.GIDMappings) == 0 {
		return nil
	}
	uids, gids, err := namespace.JoinedMappings(ns)
	if err != nil {
		return wrong("linux.uidMappings", "%w", err)
	}
	for _, m := range []struct {
		field        string
		asked, there []namespace.IDMapping
	}{
		{"linux.uidMappings", mappings(linux.UIDMappings), uids}, {"linux.gidMappings", mappings(linux.GIDMappings), gids},
	} {
		if !slices.Equal(sorted(m.asked), sorted(m.there)) {
			return wrong(m.field, "the user namespace that is joined has other mappings: %v", m.there)
		}
	}
	return nil
}

func sorted(maps []namespace.IDMapping) []namespace.IDMapping {
	return slices.SortedFunc(slices.Values(maps), func(a, b namespace.IDMapping) int { return cmp.Compare(a.ContainerID, b.ContainerID) })
}

func mappings(list []specs.LinuxIDMapping) []namespace.IDMapping {
	var all []namespace.IDMapping
	for _, m := range list {
		all = append(all, namespace.IDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size})
	}
	return all
}

func (b *Bundle) timeNamespace(l *Launch, isNew bool) error {
	offsets := b.Spec.Linux.TimeOffsets
	if len(offsets) > 0 && !isNew {
		return wrong("linux.timeOffsets", "there is no new namespace of the type time")
	}
	if !isNew {
		return nil
	}
	l.TimeOffsets = &namespace.TimeOffsets{}
	for clock, o := range offsets {
		const most = int64(1<<63-1)/int64(time.Second) - 1
		if o.Secs > most || o.Secs < -most || o.Nanosecs >= 1e9 {
			return wrong("linux.timeOffsets."+clock, "%d s and %d ns are not an offset", o.Secs, o.Nanosecs)
		}
		d := time.Duration(o.Secs)*time.Second + time.Duration(o.Nanosecs)
		switch clock {
		case "monotonic":
			l.TimeOffsets.Monotonic = d
		case "boottime":
			l.TimeOffsets.Boottime = d
		default:
			return wrong("linux.timeOffsets."+clock, "there is no such clock: use monotonic or boottime")
		}
	}
	return nil
}
