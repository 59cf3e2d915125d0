package namespace

import (
	"fmt"
	"strings"
	"time"
)

// An IDMapping maps a range of ids inside a user namespace to ids outside: user_namespaces(7).
type IDMapping struct {
	// ContainerID is the first id inside, HostID the one outside that it stands for: as the host program's own user
	// namespace has it.
	ContainerID, HostID uint32
	// Size is how many ids are mapped from there on. At least 1.
	Size uint32
}

// An IDMap shows the owners of a mount's files as other ids: what is owned by a ContainerID on disk belongs to its HostID
// as long as one goes through the mount, and what is made there is written with the ContainerID as owner. So files that
// belong to 0 on disk are those of a container's root that is 100000 outside. The zero value has the process's own
// UIDMappings and GIDMappings, which there must be then. It takes Linux ≥ 5.12, a file system that can do it, and root.
type IDMap struct {
	// UIDs and GIDs are the ranges. Both or none.
	UIDs, GIDs []IDMapping
	// IfPossible leaves the owners as they are where the file system cannot do it.
	IfPossible bool
}

// TimeOffsets are what is added to the host's clocks in a time namespace: time_namespaces(7). The clock of the day is the
// same everywhere.
type TimeOffsets struct {
	// Monotonic is for CLOCK_MONOTONIC, Boottime for CLOCK_BOOTTIME, which is what uptime(1) shows. A clock that would be
	// negative, or that is centuries ahead, is an error of the kernel's (ERANGE).
	Monotonic, Boottime time.Duration
}

// maxMappings is UID_GID_MAP_MAX_EXTENTS of the kernel, and maxMapBytes what it reads at once.
const (
	maxMappings = 340
	maxMapBytes = 4095
)

// checkMappings finds what the kernel would refuse, or what no container can start with.
func checkMappings(maps []IDMapping) error {
	if len(maps) > maxMappings {
		return fmt.Errorf("%d mappings are more than the kernel's %d", len(maps), maxMappings)
	}
	for i, m := range maps {
		switch {
		case m.Size == 0:
			return fmt.Errorf("mapping %d, %v, is of no id", i, m)
		case uint64(m.ContainerID)+uint64(m.Size) > 1<<32-1:
			return fmt.Errorf("mapping %d, %v, goes beyond the last id, 4294967294, inside", i, m)
		case uint64(m.HostID)+uint64(m.Size) > 1<<32-1:
			return fmt.Errorf("mapping %d, %v, goes beyond the last id, 4294967294, outside", i, m)
		}
		for j, n := range maps[:i] {
			if overlap(m.ContainerID, m.Size, n.ContainerID, n.Size) {
				return fmt.Errorf("mappings %d, %v, and %d, %v, overlap inside", j, n, i, m)
			}
			if overlap(m.HostID, m.Size, n.HostID, n.Size) {
				return fmt.Errorf("mappings %d, %v, and %d, %v, overlap outside", j, n, i, m)
			}
		}
	}
	if n := len(mapText(maps)); n > maxMapBytes {
		return fmt.Errorf("the map is %d bytes as text, the kernel reads %d", n, maxMapBytes)
	}
	return nil
}

func overlap(a, aSize, b, bSize uint32) bool {
	return uint64(a) < uint64(b)+uint64(bSize) && uint64(b) < uint64(a)+uint64(aSize)
}

// String is the mapping as /proc/PID/uid_map has it.
func (m IDMapping) String() string { return fmt.Sprintf("%d %d %d", m.ContainerID, m.HostID, m.Size) }

func mapText(maps []IDMapping) string {
	var b strings.Builder
	for _, m := range maps {
		b.WriteString(m.String() + "\n")
	}
	return b.String()
}

// HostID returns what an id inside stands for outside, and whether it is mapped.
func HostID(maps []IDMapping, id uint32) (host uint32, ok bool) {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}

// validateUser finds what no user or time namespace can be made with.
func (l *Launch) validateUser() error {
	n := &l.Namespaces
	switch {
	case n.User.Host && n.User.Join != nil:
		return bad("Namespaces.User", "both Host and Join are set")
	case n.Time.Host && n.Time.Join != nil:
		return bad("Namespaces.Time", "both Host and Join are set")
	case l.TimeOffsets != nil && (n.Time.Host || n.Time.Join != nil):
		return bad("TimeOffsets", "the time namespace is not the process's own")
	}
	if err := checkMappings(l.UIDMappings); err != nil {
		return bad("UIDMappings", "%w", err)
	}
	if err := checkMappings(l.GIDMappings); err != nil {
		return bad("GIDMappings", "%w", err)
	}
	if err := l.validateIDMaps(); err != nil {
		return err
	}
	if !l.newUser() {
		return nil
	}
	switch {
	case n.User.Host || n.User.Join != nil:
		return bad("UIDMappings", "the user namespace is not the process's own")
	case len(l.UIDMappings) == 0:
		return bad("UIDMappings", "there are none, but GIDMappings")
	case len(l.GIDMappings) == 0:
		return bad("GIDMappings", "there are none, but UIDMappings")
	}
	mapped := func(field string, maps []IDMapping, id uint32, what string) error {
		if _, ok := HostID(maps, id); !ok {
			return bad(field, "the id %d, %s, is not in the map", id, what)
		}
		return nil
	}
	// The set-up is done by root of the container.
	err := mapped("UIDMappings", l.UIDMappings, 0, "the container's root")
	if err == nil {
		err = mapped("GIDMappings", l.GIDMappings, 0, "the container's root")
	}
	if err == nil {
		err = mapped("User.UID", l.UIDMappings, l.User.UID, "the process's user")
	}
	if err == nil {
		err = mapped("User.GID", l.GIDMappings, l.User.GID, "the process's group")
	}
	for _, g := range l.User.Groups {
		if err == nil {
			err = mapped("User.Groups", l.GIDMappings, g, "a supplementary group")
		}
	}
	return err
}

// validateIDMaps looks at the maps of the root and of mounts.
func (l *Launch) validateIDMaps() error {
	check := func(field string, m *IDMap) error {
		switch {
		case m == nil:
			return nil
		case len(m.UIDs) == 0 && len(m.GIDs) == 0 && !l.newUser():
			return bad(field, "it is empty, which stands for the process's own map, and there is none")
		case (len(m.UIDs) == 0) != (len(m.GIDs) == 0):
			return bad(field, "one of UIDs and GIDs is missing")
		}
		if err := checkMappings(m.UIDs); err != nil {
			return bad(field+".UIDs", "%w", err)
		}
		if err := checkMappings(m.GIDs); err != nil {
			return bad(field+".GIDs", "%w", err)
		}
		return nil
	}
	if err := check("RootIDMap", l.RootIDMap); err != nil {
		return err
	}
	if l.RootIDMap != nil && l.Root == nil {
		return bad("RootIDMap", "there is no root file system")
	}
	for i := range l.Mounts {
		m := &l.Mounts[i]
		if m.IDMap != nil && m.Type != "bind" {
			return bad(fmt.Sprintf("Mounts[%d].IDMap", i), "%s is not a bind", m.Target)
		}
		if err := check(fmt.Sprintf("Mounts[%d].IDMap", i), m.IDMap); err != nil {
			return err
		}
	}
	return nil
}

func (l *Launch) newUser() bool { return len(l.UIDMappings)+len(l.GIDMappings) > 0 }

// ContainerID returns what an id outside is inside, and whether it is mapped.
func ContainerID(maps []IDMapping, host uint32) (id uint32, ok bool) {
	for _, m := range maps {
		if host >= m.HostID && host-m.HostID < m.Size {
			return m.ContainerID + (host - m.HostID), true
		}
	}
	return 0, false
}
