package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// allocate chooses the endpoint's addresses.
func (s *Store) allocate(ctx context.Context, x *index, n *Network, o *EndpointOptions, e *Endpoint) error {
	err := s.choose(x, n, o, e)
	if errors.Is(err, ErrExhausted) || errors.Is(err, ErrInUse) {
		if err := s.reclaim(ctx); err != nil {
			return err
		}
		err = s.choose(x, n, o, e)
	}
	return err
}

func (s *Store) choose(x *index, n *Network, o *EndpointOptions, e *Endpoint) error {
	for _, ipv6 := range []bool{false, true} {
		want := o.IPv4
		if ipv6 {
			want = o.IPv6
		}
		subnets := n.subnets(ipv6)
		if len(subnets) == 0 {
			continue
		}
		if want.IsValid() && x.taken(want) {
			return fmt.Errorf("address %s %w", want, ErrInUse)
		}
		p, err := x.free(subnets, want, ipv6)
		if err != nil {
			return err
		}
		if ipv6 {
			e.IPv6 = p
		} else {
			e.IPv4 = p
		}
	}
	if o.MAC != nil {
		e.MAC = o.MAC.String()
	} else {
		e.MAC = macOf(cmp.Or(e.IPv4, e.IPv6).Addr()).String()
	}
	own := n.Driver == Bridge && e.MAC == macOf(n.Subnets[0].Gateway).String() // the bridge's
	if own || x.hasMAC(e.MAC) {
		return fmt.Errorf("hardware address %s %w", e.MAC, ErrInUse)
	}
	return nil
}

// free is an address of the first of the subnets that has one, or the given one, which is of one of them.
func (x *index) free(subnets []Subnet, want netip.Addr, ipv6 bool) (netip.Prefix, error) {
	for _, sub := range subnets {
		a, ok := want, sub.Prefix.Contains(want)
		if !want.IsValid() {
			a, ok = nextAddress(sub, x.lastOf(ipv6), x.taken)
		}
		if ok {
			return netip.PrefixFrom(a, sub.Prefix.Bits()), nil
		}
	}
	var all []string
	for _, sub := range subnets {
		all = append(all, cmp.Or(sub.Range, sub.Prefix).String())
	}
	return netip.Prefix{}, fmt.Errorf("%w in %s", ErrExhausted, strings.Join(all, " and "))
}

func (x *index) lastOf(ipv6 bool) netip.Addr {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.last[ipv6]
}

func (x *index) hasMAC(mac string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.macs[mac] != nil
}
