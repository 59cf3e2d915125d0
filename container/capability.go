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
		if p.mapped { // where all there are do nothing to the host
			add |= namespace.CapabilitySet(1)<<(namespace.LastCapability()+1) - 1
		} else {
			add |= namespace.OwnCapabilities() // nobody can give what he has not
		}
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

// capabilitySets returns the five sets that a process gets. Without Capabilities, root has all that are allowed in effect,
// another user none, as with Docker. What is in the bounding set can then be gained by file capabilities, if NewPrivileges
// allows.
func (p *Process) capabilitySets(privileged bool, uid uint32) (namespace.Capabilities, error) {
	if p.Capabilities != nil {
		return p.exactCapabilities()
	}
	all, err := p.capabilities(privileged)
	if err != nil {
		return namespace.Capabilities{}, err
	}
	s := namespace.Capabilities{Bounding: all}
	if uid == 0 {
		s.Effective, s.Permitted = all, all
	}
	return s, nil
}

// exactCapabilities reads Capabilities.
func (p *Process) exactCapabilities() (s namespace.Capabilities, err error) {
	if len(p.CapAdd)+len(p.CapDrop) > 0 {
		return s, wrong("Capabilities", "the sets are given, and CapAdd or CapDrop too: use one way")
	}
	c := p.Capabilities
	for _, x := range []struct {
		name  string
		names []string
		to    *namespace.CapabilitySet
	}{
		{"Bounding", c.Bounding, &s.Bounding}, {"Effective", c.Effective, &s.Effective}, {"Permitted", c.Permitted, &s.Permitted},
		{"Inheritable", c.Inheritable, &s.Inheritable}, {"Ambient", c.Ambient, &s.Ambient},
	} {
		if *x.to, err = namespace.ParseCapabilities(x.names...); err != nil {
			return s, wrong("Capabilities."+x.name, "%w", err)
		}
	}
	for _, x := range []struct {
		name, in    string
		part, whole namespace.CapabilitySet
	}{
		{"Effective", "Permitted", s.Effective, s.Permitted}, {"Inheritable", "Bounding", s.Inheritable, s.Bounding},
		{"Ambient", "Permitted and Inheritable", s.Ambient, s.Permitted & s.Inheritable},
	} {
		if left := x.part &^ x.whole; left != 0 {
			return s, wrong("Capabilities."+x.name, "%s is not in %s", left, x.in)
		}
	}
	return s, nil
}

// dropMknod takes CAP_MKNOD out of the default sets of a process that no device control group keeps from opening the nodes it
// makes. Who asks for it by name gets it.
func (p *Process) dropMknod(s *namespace.Capabilities) {
	const mknod = namespace.CapabilitySet(1) << 27
	if asked, err := namespace.ParseCapabilities(p.CapAdd...); p.Capabilities != nil || err != nil || asked&mknod != 0 {
		return
	}
	for _, set := range []*namespace.CapabilitySet{&s.Bounding, &s.Effective, &s.Permitted} {
		*set &^= mknod
	}
}
