package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
)

// A host is the store's access to the network namespace that has the bridges.
type host struct {
	ns    *os.File
	link  *netlink.Handle
	route int // a socket of rtnetlink, too; -1: none
	rules *rules
}

// openHost returns the store's host. The caller holds the store's lock.
func (s *Store) openHost() (*host, error) {
	if s.host != nil {
		return s.host, nil
	}
	h := &host{ns: s.ns, route: -1}
	err := inside(s.ns, func() (err error) {
		if h.link, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open rtnetlink: %w", err)
		}
		if h.route, err = openRoute(); err != nil {
			return err
		}
		h.rules, err = openRules(s.table)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	s.host = h
	return h, nil
}

func (h *host) close() error {
	var err error
	if h.link != nil {
		h.link.Close()
	}
	if h.route >= 0 {
		err = unix.Close(h.route)
	}
	if h.rules != nil {
		err = errors.Join(err, h.rules.close())
	}
	return err
}

// chooseSubnets takes the subnets that o gives, if they are free, and free ones where it gives none.
func (s *Store) chooseSubnets(o *CreateOptions, n *Network) ([]Subnet, error) {
	taken, owners, err := s.takenSubnets()
	if err != nil {
		return nil, err
	}
	var all []Subnet
	for _, ipv6 := range []bool{false, true} {
		given := Network{Subnets: o.Subnets}
		sub, ok := given.Subnet(ipv6)
		switch {
		case ok && len(given.subnets(ipv6)) > 1:
			for _, sub := range given.subnets(ipv6) {
				all = append(all, sub.withGateway())
			}
			continue
		case ok && n.Driver == Bridge:
			if other, clash := overlap(sub.Prefix, taken); clash {
				return nil, fmt.Errorf("%w: %s with %s of %s", ErrOverlap, sub.Prefix, other, owners[other])
			}
		case ok: // macvlan and ipvlan are in a network that is there
		case !ipv6 && o.NoIPv4, ipv6 && !o.IPv6:
			continue
		default:
			if sub.Prefix, ok = freeSubnet(s.pools, ipv6, taken); !ok {
				return nil, fmt.Errorf("%w: every subnet of the pools overlaps with a network or a route of the host", ErrExhausted)
			}
		}
		all = append(all, sub.withGateway())
	}
	return all, nil
}

// takenSubnets returns the subnets of the store's networks and of the host's routes, and whose they are.
func (s *Store) takenSubnets() ([]netip.Prefix, map[netip.Prefix]string, error) {
	var taken []netip.Prefix
	owners := make(map[netip.Prefix]string)
	networks, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	for _, n := range networks {
		if n.Driver != Bridge {
			continue
		}
		for _, sub := range n.Subnets {
			taken = append(taken, sub.Prefix)
			owners[sub.Prefix] = n.String()
		}
	}
	err = inside(s.ns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open rtnetlink: %w", err)
		}
		defer h.Close()
		routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(nil, netlink.FAMILY_ALL) })
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			a, _ := netip.AddrFromSlice(r.Dst.IP)
			bits, size := r.Dst.Mask.Size()
			if size == 32 {
				a = a.Unmap()
			}
			p := netip.PrefixFrom(a, bits)
			if !p.IsValid() || bits == 0 || a.IsLinkLocalUnicast() || a.IsMulticast() {
				continue
			}
			if _, ours := owners[p]; ours {
				continue
			}
			taken = append(taken, p)
			owners[p] = "a route of the host"
			if l, err := h.LinkByIndex(r.LinkIndex); err == nil {
				owners[p] += " by " + l.Attrs().Name
			}
		}
		return nil
	})
	return taken, owners, err
}

// A rise is what is to be there of a network before an endpoint is: its elements are added in one transaction, then its
// interfaces set up. Being up is the last thing about one, and says that the rest is done.
type rise struct {
	elements []element
	down     []netlink.Link // to be set up, in this order
	ends     []netlink.Link // of those, what is waited for
}

func (h *host) finish(c *change, r *rise) error {
	if err := h.rules.change(c.s, additions(r.elements)); err != nil {
		return err
	}
	for _, l := range r.down {
		if err := h.link.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
		}
	}
	for _, l := range r.ends {
		settle(h.link, l)
	}
	return nil
}

// up makes a network's bridge with its addresses, unless that was done. The rest is r's, and to be finished.
func (h *host) up(c *change, n *Network, r *rise) (bridge netlink.Link, err error) {
	bridge, err = h.link.LinkByName(n.Interface)
	if err == nil {
		if !h.ours(bridge, n) {
			return nil, fmt.Errorf("interface %s is there and not this network's: %w", n.Interface, ErrInUse)
		}
		if bridge.Attrs().Flags&net.FlagUp == 0 { // somebody was killed half way
			err = h.address(c, n, bridge, r)
		}
		return bridge, err
	}
	var missing netlink.LinkNotFoundError
	if !errors.As(err, &missing) {
		return nil, fmt.Errorf("interface %s: %w", n.Interface, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = n.Interface, n.MTU
	if attrs.MTU == 0 {
		attrs.MTU = h.uplinkMTU()
	}
	// Without a hardware address of its own a bridge takes that of one of its ports, and changes it with them.
	attrs.HardwareAddr = macOf(n.Subnets[0].Gateway)
	if err := h.link.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", n.Interface, explain(err, "bridge"))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.removeBridge(n))
		}
	}()
	if bridge, err = h.link.LinkByName(n.Interface); err != nil {
		return nil, fmt.Errorf("interface %s: %w", n.Interface, err)
	}
	if err := h.link.LinkSetAlias(bridge, aliasPrefix+n.ID); err != nil {
		return nil, fmt.Errorf("name bridge %s: %w", n.Interface, err)
	}
	return bridge, h.address(c, n, bridge, r)
}

// aliasPrefix and a network's ID are its bridge's alias, by which the bridge is known as the network's.
const aliasPrefix = "caisson "

func (h *host) ours(l netlink.Link, n *Network) bool {
	return l.Type() == "bridge" && (l.Attrs().Alias == aliasPrefix+n.ID || strings.HasPrefix(n.Interface, "cs-"))
}

// address gives a bridge that is there its parameters and addresses.
func (h *host) address(c *change, n *Network, bridge netlink.Link, r *rise) error {
	_, ipv6 := n.Subnet(true)
	err := inside(h.ns, func() error {
		conf := "ipv6/conf/" + n.Interface + "/"
		if !ipv6 {
			if err := writeSysctl(conf+"disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		}
		for _, set := range [][2]string{{"accept_ra", "0"}, {"accept_redirects", "0"}, {"accept_dad", "0"}} {
			if err := writeSysctl(conf+set[0], set[1]); err != nil {
				return ipv6Error(err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, sub := range n.Subnets {
		a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))}
		if sub.Gateway.Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := h.link.AddrReplace(bridge, a); err != nil {
			return fmt.Errorf("give %s the address %s: %w", n.Interface, a.IPNet, ipv6Error(err))
		}
	}
	if err := h.forward(c.s, ipv6); err != nil {
		return err
	}
	r.elements = append(r.elements, networkElements(n)...)
	r.down = append(r.down, bridge)
	return nil
}

// down removes a network's part of the rules, then its bridge: if somebody is killed in between, the bridge tells the next one.
func (h *host) down(n *Network) error {
	if err := h.rules.remove(networkElements(n)); err != nil {
		return err
	}
	return h.removeBridge(n)
}

func (h *host) removeBridge(n *Network) error {
	l, err := h.link.LinkByName(n.Interface)
	if err == nil && h.ours(l, n) {
		err = h.link.LinkDel(l)
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("remove bridge %s: %w", n.Interface, err)
	}
	return nil
}

// uplinkMTU is that of the interface of the default route.
func (h *host) uplinkMTU() int {
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.link.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err == nil {
		for _, r := range routes {
			if ones, _ := maskSize(r.Dst); ones != 0 {
				continue
			}
			if l, err := h.link.LinkByIndex(r.LinkIndex); err == nil && l.Attrs().MTU >= 1280 {
				return l.Attrs().MTU
			}
		}
	}
	return 1500
}

func maskSize(n *net.IPNet) (ones, bits int) {
	if n == nil {
		return 0, 0
	}
	return n.Mask.Size()
}

// forward makes the kernel forward packets. If it did not, then the interfaces that are there go on not forwarding to each
// other: they are guarded.
func (h *host) forward(s *Store, ipv6 bool) error {
	return inside(h.ns, func() error {
		paths := []string{"ipv4/ip_forward"}
		if ipv6 {
			paths = append(paths, "ipv6/conf/all/forwarding")
		}
		for _, path := range paths {
			b, err := os.ReadFile("/proc/sys/net/" + path)
			if err != nil {
				return fmt.Errorf("read kernel parameter: %w", ipv6Error(err))
			}
			if strings.TrimSpace(string(b)) != "0" {
				continue
			}
			if err := h.guard(s); err != nil {
				return err
			}
			if path != paths[0] {
				if err := keepRouterAdvertisements(); err != nil {
					return err
				}
			}
			if err := writeSysctl(path, "1"); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxDumps bounds how often a list is asked for that changes while the kernel writes it.
const maxDumps = 100

// dump asks the kernel for a list until none of it changed meanwhile.
func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range maxDumps {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// guard writes the host's interfaces down as guarded, before the rules get them and forwarding begins.
func (h *host) guard(s *Store) error {
	links, err := dump(h.link.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	g := guarded{Boot: s.boot}
	old := s.guarded()
	g.Interfaces = old.Interfaces
	have := make(map[string]bool)
	for _, name := range g.Interfaces {
		have[name] = true
	}
	var added []element
	for _, l := range links {
		name := l.Attrs().Name
		if have[name] || name == "lo" || strings.HasPrefix(l.Attrs().Alias, aliasPrefix) || isPort(name) {
			continue
		}
		g.Interfaces = append(g.Interfaces, name)
		added = append(added, element{set: "guarded", key: ifname(name)})
	}
	if err := durable.WriteJSON(s.path(guardedName), g, 0o600); err != nil {
		return err
	}
	return h.rules.change(s, additions(added))
}

// guarded are the interfaces that did not forward to each other before this store had the kernel forward.
type guarded struct {
	Boot       string   `json:"boot"`
	Interfaces []string `json:"interfaces"`
}

// guarded returns what was written in this run of the kernel.
func (s *Store) guarded() guarded {
	var g guarded
	if err := durable.ReadJSON(s.path(guardedName), maxMeta, &g); err != nil || g.Boot != s.boot {
		return guarded{}
	}
	return g
}

// keepRouterAdvertisements lets interfaces that accept them do so while the kernel forwards: it would stop otherwise, and
// the host lose its default route.
func keepRouterAdvertisements() error {
	entries, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := "ipv6/conf/" + e.Name() + "/accept_ra"
		b, err := os.ReadFile("/proc/sys/net/" + path)
		if err != nil || strings.TrimSpace(string(b)) != "1" {
			continue
		}
		if err := writeSysctl(path, "2"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// explain adds to an error of the kernel what it most likely lacks.
func explain(err error, feature string) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("%w (the kernel lacks %s): %w", err, feature, errors.ErrUnsupported)
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (it takes CAP_NET_ADMIN)", err)
	}
	return err
}

// ipv6Error says of an error what it most likely is when a host has IPv6 turned off.
func ipv6Error(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("%w (the host has no IPv6): %w", err, errors.ErrUnsupported)
	}
	return err
}
