package container

import (
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// capabilities returns the set that CapAdd and CapDrop make of the default one.
func (p *Process) capabilities(privileged bool) (namespace.CapabilitySet, error) {
	set := namespace.DefaultCapabilitySet()
	drop, err := namespace.ParseCapabilities(without(p.CapDrop, "ALL")...)
	if err != nil {
		return 0, wrong("CapDrop", "%w", err)
	}
	if len(without(p.CapDrop, "ALL")) < len(p.CapDrop) {
		set = 0
	}
	add, err := namespace.ParseCapabilities(without(p.CapAdd, "ALL")...)
	if err != nil {
		return 0, wrong("CapAdd", "%w", err)
	}
	if privileged || len(without(p.CapAdd, "ALL")) < len(p.CapAdd) {
		add |= namespace.OwnCapabilities() // nobody can give what he has not
	}
	return (set | add) &^ drop, nil
}

// without returns the names but for name and its form with "CAP_", in any case.
func without(names []string, name string) []string {
	var rest []string
	for _, n := range names {
		if !strings.EqualFold(n, name) && !strings.EqualFold(n, "CAP_"+name) {
			rest = append(rest, n)
		}
	}
	return rest
}

// sets returns the five sets that a process gets: root has all that are allowed in effect, another user none, as with
// Docker. What is in the bounding set can then be gained by file capabilities, if NewPrivileges allows.
func sets(all namespace.CapabilitySet, uid uint32) namespace.Capabilities {
	s := namespace.Capabilities{Bounding: all}
	if uid == 0 {
		s.Effective, s.Permitted = all, all
	}
	return s
}
