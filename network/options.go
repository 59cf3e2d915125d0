package network

import (
	"fmt"
	"slices"
)

const (
	maxLabels    = 64 << 10
	maxReserved  = 1024
	maxInterface = 15 // IFNAMSIZ less the terminating zero
)

// check looks at what can be said of the options alone.
func (o *CreateOptions) check() error {
	switch o.Driver {
	case "", Bridge:
		if o.Mode != "" {
			return invalid("Mode", "a bridge has none")
		}
	case Macvlan, Ipvlan:
		if err := o.checkParent(); err != nil {
			return err
		}
	default:
		return invalid("Driver", "%q is none of bridge, macvlan, ipvlan", o.Driver)
	}
	if err := checkInterface(o.Interface); err != nil {
		return err
	}
	if o.MTU != 0 && (o.MTU < 68 || o.MTU > 65535) {
		return invalid("MTU", "%d is not from 68 to 65535", o.MTU)
	}
	if err := o.Egress.check(); err != nil {
		return err
	}
	ipv6 := o.IPv6
	seen := map[bool]bool{}
	for i := range o.Subnets {
		s := &o.Subnets[i]
		if err := s.check(); err != nil {
			return err
		}
		is6 := s.Prefix.Addr().Is6()
		if seen[is6] && (o.Driver == "" || o.Driver == Bridge) {
			return invalid("Subnets", "more than one of the same family, which a bridge has not")
		}
		for _, other := range o.Subnets[:i] {
			if other.Prefix.Overlaps(s.Prefix) {
				return invalid("Subnets", "%s overlaps with %s", s.Prefix, other.Prefix)
			}
		}
		seen[is6], ipv6 = true, ipv6 || is6
	}
	if o.NoIPv4 && seen[false] {
		return invalid("NoIPv4", "a subnet of IPv4 is given")
	}
	if o.NoIPv4 && !ipv6 {
		return invalid("NoIPv4", "without IPv6 there is no address")
	}
	if ipv6 && o.MTU != 0 && o.MTU < 1280 {
		return invalid("MTU", "%d is below 1280, the least of IPv6", o.MTU)
	}
	size := 0
	for _, m := range []map[string]string{o.Labels, o.Options} {
		for k, v := range m {
			size += len(k) + len(v)
		}
	}
	if size > maxLabels {
		return invalid("Labels", "%d bytes are above the limit of %d", size, maxLabels)
	}
	return nil
}

func (o *CreateOptions) checkParent() error {
	if o.Interface == "" {
		return invalid("Interface", "%s needs an interface of the host", o.Driver)
	}
	if o.Egress != nil {
		return invalid("Egress", "%s goes past the host's rules", o.Driver)
	}
	if o.Isolated {
		return invalid("Isolated", "%s has Mode for that", o.Driver)
	}
	modes := []string{"", "bridge", "private", "vepa", "passthru"}
	if o.Driver == Ipvlan {
		modes = []string{"", "l2", "l3", "l3s"}
	}
	if !slices.Contains(modes, o.Mode) {
		return invalid("Mode", "%q is none of %q", o.Mode, modes[1:])
	}
	return nil
}

// checkInterface tells whether an interface can have the name; empty is fine.
func checkInterface(name string) error {
	if len(name) > maxInterface {
		return invalid("Interface", "%q is longer than %d bytes", name, maxInterface)
	}
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c == '/' || c == ':' || c > '~' || c == '%' || c == '*' {
			return invalid("Interface", "%q has a character that no interface has", name)
		}
	}
	if name == "." || name == ".." || name == "lo" || name == "all" || name == "default" {
		return invalid("Interface", "%q cannot be used", name)
	}
	return nil
}

func (s *Subnet) check() error {
	p := s.Prefix
	if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return invalid("Subnets", "%s is no subnet", p)
	}
	if p.Masked() != p {
		return invalid("Subnets", "%s has bits set beyond its length; %s was meant", p, p.Masked())
	}
	if p.Addr().BitLen()-p.Bits() < 2 || p.Bits() < 8 {
		return invalid("Subnets", "%s: the length is not from 8 to %d", p, p.Addr().BitLen()-2)
	}
	if a := p.Addr(); a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a.IsLinkLocalUnicast() {
		return invalid("Subnets", "%s is no range for a network", p)
	}
	if s.Gateway.IsValid() && !usable(p, s.Gateway) {
		return invalid("Gateway", "%s is no address of %s", s.Gateway, p)
	}
	if r := s.Range; r.IsValid() {
		if r.Masked() != r || r.Bits() < p.Bits() || !p.Contains(r.Addr()) {
			return invalid("Range", "%s is no part of %s", r, p)
		}
	}
	if len(s.Reserved) > maxReserved {
		return invalid("Reserved", "%d addresses are more than %d", len(s.Reserved), maxReserved)
	}
	for name, a := range s.Reserved {
		if !usable(p, a) {
			return invalid("Reserved", "%s (%s) is no address of %s", a, name, p)
		}
	}
	return nil
}

// PruneOptions are the optional settings of Prune.
type PruneOptions struct {
	// Keep, if not nil, is asked about each network that is not in use, and spares those that it returns true for.
	Keep func(Network) bool
}

func (n *Network) String() string { return fmt.Sprintf("network %s", n.Name) }
