package network

import (
	"net/netip"
	"slices"
)

// An area is a prefix and a box: what connections to addresses are allowed.
type area struct {
	prefix netip.Prefix
	box    box
}

// maxAreas bounds what the policies of one sandbox on one network come to.
const maxAreas = 4096

// areas returns what the policies allow in a family whatever the names, each connection by one area alone.
func (p Policies) areas(ipv6 bool) ([]area, error) {
	all := []area{{everywhere(ipv6), whole}}
	for _, e := range p {
		var next []area
		for _, r := range e.Allow {
			if r.Name != "" || r.Prefix.Addr().Is6() != ipv6 {
				continue
			}
			for _, b := range r.boxes(ipv6) {
				for _, a := range all {
					if c, ok := a.intersect(area{r.Prefix, b}); ok {
						next = append(next, c)
					}
				}
			}
		}
		if all = disjoint(next); len(all) > maxAreas {
			return nil, invalid("Egress", "the rules come to more than %d ranges", maxAreas)
		}
	}
	return all, nil
}

func everywhere(ipv6 bool) netip.Prefix { return netip.PrefixFrom(unspecified(ipv6), 0) }

func unspecified(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func (a area) intersect(b area) (area, bool) {
	if !a.prefix.Overlaps(b.prefix) {
		return area{}, false
	}
	c, ok := a.box.intersect(b.box)
	if a.prefix.Bits() < b.prefix.Bits() {
		a.prefix = b.prefix
	}
	return area{a.prefix, c}, ok
}

// disjoint returns areas that together are the same, none of which overlaps with another. Prefixes do not overlap but one
// within the other; so protocols and ports are cut at all bounds, and of each piece the widest prefixes are kept.
func disjoint(areas []area) []area {
	var protocols []int
	for _, a := range areas {
		protocols = append(protocols, int(a.box.first), int(a.box.last)+1)
	}
	protocols = cuts(protocols)
	var all []area
	for i := 0; i+1 < len(protocols); i++ {
		first, last := uint8(protocols[i]), uint8(protocols[i+1]-1)
		var of []area
		var ports []int
		for _, a := range areas {
			if a.box.first <= first && last <= a.box.last {
				of = append(of, a)
				ports = append(ports, int(a.box.port), int(a.box.portEnd)+1)
			}
		}
		ports = cuts(ports)
		for j := 0; j+1 < len(ports); j++ {
			b := box{first, last, uint16(ports[j]), uint16(ports[j+1] - 1)}
			var prefixes []netip.Prefix
			for _, a := range of {
				if a.box.port <= b.port && b.portEnd <= a.box.portEnd {
					prefixes = append(prefixes, a.prefix)
				}
			}
			for _, p := range widest(prefixes) {
				all = append(all, area{p, b})
			}
		}
	}
	return all
}

func cuts(all []int) []int {
	slices.Sort(all)
	return slices.Compact(all)
}

// widest returns the prefixes that are within no other.
func widest(all []netip.Prefix) (kept []netip.Prefix) {
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if a.Bits() != b.Bits() {
			return a.Bits() - b.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	for _, p := range all {
		if !slices.ContainsFunc(kept, func(k netip.Prefix) bool { return k.Contains(p.Addr()) }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// named returns what the policies allow to an address that a name stands for. Each box is of one protocol or of all, and in the
// latter case of all ports.
func (p Policies) named(name string, a netip.Addr) []box {
	all := []box{whole}
	for _, e := range p {
		var next []box
		for _, r := range e.Allow {
			if !r.opens(a, []string{name}) {
				continue
			}
			for _, b := range r.boxes(a.Is6()) {
				for _, o := range all {
					if c, ok := o.intersect(b); ok {
						next = append(next, c)
					}
				}
			}
		}
		all = next
	}
	slices.SortFunc(all, func(a, b box) int { return b.size() - a.size() })
	var kept []box
	for _, b := range all {
		if !slices.ContainsFunc(kept, func(k box) bool { c, ok := k.intersect(b); return ok && c == b }) {
			kept = append(kept, b)
		}
	}
	return kept
}

func (b box) size() int { return (int(b.last) - int(b.first) + 1) * (int(b.portEnd) - int(b.port) + 1) }

// check tells whether the policies' ranges are few enough.
func (p Policies) check() error {
	for _, ipv6 := range []bool{false, true} {
		if _, err := p.areas(ipv6); err != nil {
			return err
		}
	}
	return nil
}
