package network

import (
	"net/netip"
)

// A Pool is a range of addresses that is given out in subnets of Bits.
type Pool struct {
	Base netip.Prefix
	Bits int
}

// defaultPools are Docker's: 172.17.0.0/16 and on in /16s, then 192.168.0.0/16 in /20s.
func defaultPools() []Pool {
	var all []Pool
	for _, p := range []struct {
		base string
		bits int
	}{
		{"172.17.0.0/16", 16}, {"172.18.0.0/16", 16}, {"172.19.0.0/16", 16}, {"172.20.0.0/14", 16}, {"172.24.0.0/14", 16},
		{"172.28.0.0/14", 16}, {"192.168.0.0/16", 20},
	} {
		all = append(all, Pool{netip.MustParsePrefix(p.base), p.bits})
	}
	return all
}

func checkPools(pools []Pool) error {
	for _, p := range pools {
		s := Subnet{Prefix: p.Base}
		if err := s.check(); err != nil {
			return invalid("Pools", "%v", err)
		}
		if p.Bits < p.Base.Bits() || p.Bits > p.Base.Addr().BitLen()-2 {
			return invalid("Pools", "%s cannot be divided into subnets of %d bits", p.Base, p.Bits)
		}
	}
	return nil
}

// freeSubnet returns the first subnet of the pools that overlaps with none of those taken.
func freeSubnet(pools []Pool, ipv6 bool, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, p := range pools {
		if p.Base.Addr().Is6() != ipv6 {
			continue
		}
		for at := netip.PrefixFrom(p.Base.Addr(), p.Bits); at.IsValid() && p.Base.Contains(at.Addr()); {
			other, clash := overlap(at, taken)
			if !clash {
				return at, true
			}
			// Go on behind the larger of the two.
			if other.Bits() > at.Bits() {
				other = at
			}
			next := lastAddr(other).Next()
			if !next.IsValid() {
				break
			}
			at = netip.PrefixFrom(next, p.Bits)
			if at.Masked() != at {
				break
			}
		}
	}
	return netip.Prefix{}, false
}

func overlap(p netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if p.Overlaps(t) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// lastAddr returns the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// usable says that a host can have the address: it is in the subnet, and neither its first nor, with IPv4, its last one.
func usable(p netip.Prefix, a netip.Addr) bool {
	return p.Contains(a) && a != p.Masked().Addr() && (a.Is6() || a != lastAddr(p))
}

// nextAddress returns the first free address of the subnet's range after last, and begins anew at its end: an address that
// was given back is not the next one given out.
func nextAddress(s Subnet, last netip.Addr, taken func(netip.Addr) bool) (netip.Addr, bool) {
	r := s.Range
	if !r.IsValid() {
		r = s.Prefix
	}
	begin := r.Masked().Addr()
	if !last.IsValid() || !r.Contains(last) {
		last = lastAddr(r)
	}
	first := last
	for {
		if a := first.Next(); a.IsValid() && r.Contains(a) {
			first = a
		} else {
			first = begin
		}
		if usable(s.Prefix, first) && first != s.Gateway && !s.reserves(first) && !taken(first) {
			return first, true
		}
		if first == last {
			return netip.Addr{}, false
		}
	}
}
