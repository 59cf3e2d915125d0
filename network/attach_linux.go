package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isGone says that an interface is not there, or just went.
func isGone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

// attach makes an endpoint: first its document, so that whatever else there is can be found, then what the rules say of
// it, then its interfaces. The caller holds the store's lock.
func (b *Sandbox) attach(ctx context.Context, c *change, n *Network, o *EndpointOptions, r *Reservation) (_ *Endpoint, err error) {
	s := c.s
	var h *host
	if s.o.UserMode == nil {
		if h, err = s.openHost(); err != nil {
			return nil, err
		}
	}
	x, err := c.index(n.Name)
	if err != nil {
		return nil, err
	}
	if old := x.of(b.o.ID); old != nil {
		// A container that was started again has the ID that it had; its first sandbox may not be taken back yet.
		dead, err := s.dead(old)
		if err != nil {
			return nil, err
		}
		if !dead {
			return nil, fmt.Errorf("it is attached already: %w", ErrExists)
		}
		if err := s.release(h, n, x, old); err != nil {
			return nil, err
		}
	}
	e := &Endpoint{
		ID: randomID(16), Network: n.Name, Sandbox: b.o.ID, Names: slices.Clone(o.Names), Links: linked(o.Links), Ports: r.list(),
		GatewayPriority: o.GatewayPriority, Created: time.Now().UTC().Round(0), Owner: b.owner, Host: s.hostNS(),
	}
	for _, policy := range []*Egress{n.Egress, o.Egress} {
		if policy != nil {
			e.Egress = append(e.Egress, *policy)
		}
	}
	if err := e.Egress.check(); err != nil {
		return nil, err
	}
	if n.Driver == Bridge && s.o.UserMode == nil {
		e.HostInterface = vethPrefix + e.ID[:12]
		e.Interface = o.Interface
		if e.Interface == "" && len(b.attached) == 0 {
			e.Interface = "eth0" // most likely
		}
	}
	if e.HostInterface == "" && s.o.UserMode == nil {
		e.Owner.NetNS = namespaceName(b.ns)
	}
	if err := s.portsFree(ctx, e.Ports); err != nil {
		return nil, err
	}
	if err := s.allocate(ctx, x, n, o, e); err != nil {
		return nil, err
	}
	if e.HostInterface != "" {
		if e.Leaf, err = c.chooseLeaf(h, x); err != nil {
			return nil, err
		}
	}
	s.attaching = e.ID
	defer func() { s.attaching = "" }()
	if err := s.keepEndpoint(x, e); err != nil {
		return nil, err
	}
	kept := e.Interface
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release(h, n, x, e))
		}
	}()
	if s.o.UserMode != nil {
		if b.joined, err = b.joinUser(ctx, n, o, e); err != nil {
			return nil, err
		}
		if err := s.keepEndpoint(x, e); err != nil {
			err = errors.Join(err, b.joined.Close())
			b.joined = nil
			return nil, err
		}
		return e, nil
	}
	var link, bridge netlink.Link
	if n.Driver == Bridge {
		bridge, link, err = b.connect(c, h, n, o, e)
	} else if err = b.sit(h, n, o, e); err == nil {
		defer func() {
			if err != nil {
				err = errors.Join(err, b.removeInterface(e))
			}
		}()
	}
	if err != nil {
		return nil, err
	}
	if link != nil {
		if err := h.link.LinkSetUp(link); err != nil {
			return nil, fmt.Errorf("set %s up: %w", e.HostInterface, err)
		}
	}
	if err := b.configure(n, o, e); err != nil {
		return nil, err
	}
	if link != nil {
		settle(h.link, link)
		settle(h.link, bridge)
	}
	if e.Interface == kept {
		return e, nil
	}
	return e, s.keepEndpoint(x, e) // with the interface's name
}

// portsFree tells whether no other endpoint publishes the ports. Most such are bound, and Reserve has seen it; not those of a
// process that has ended before its sandbox.
func (s *Store) portsFree(ctx context.Context, ports []Port) error {
	err := s.portsClash(ports)
	if errors.Is(err, ErrPortInUse) {
		if err := s.reclaim(ctx); err != nil {
			return err
		}
		err = s.portsClash(ports)
	}
	return err
}

func (s *Store) portsClash(ports []Port) error {
	if len(ports) == 0 {
		return nil
	}
	names, err := s.docs.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		x, err := s.index(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, p := range ports {
			if x.publishes(p) {
				return fmt.Errorf("publish %s: %w", p, ErrPortInUse)
			}
		}
	}
	return nil
}

// connect makes the endpoint's pair of interfaces, one a port of the bridge, the other in the sandbox. Both are down.
func (b *Sandbox) connect(c *change, h *host, n *Network, o *EndpointOptions, e *Endpoint) (bridge, link netlink.Link, err error) {
	r := &rise{elements: endpointElements(e)}
	if bridge, err = h.up(c, n, r); err != nil {
		return nil, nil, err
	}
	if e.Leaf != 0 {
		if bridge, err = h.leaf(c, n, bridge, e.Leaf, r); err != nil {
			return nil, nil, err
		}
	}
	if err := h.finish(c, r); err != nil {
		return nil, nil, err
	}
	err = tryNames(o.Interface, func(name string) (err error) {
		e.Interface = name
		link, err = h.makePair(&pair{e.HostInterface, name, bridge, e.mac(), b.ns})
		return err
	})
	switch {
	case errors.Is(err, unix.EXFULL), errors.Is(err, unix.ENOSPC):
		return nil, nil, fmt.Errorf("make interface: the bridge has 1023 ports, which is all that it takes: %w: %w", ErrExhausted, err)
	case err != nil:
		return nil, nil, fmt.Errorf("make interface: %w", explain(err, "veth"))
	}
	if err := h.tell(n, e, link.Attrs().Index); err != nil {
		return nil, nil, err
	}
	if len(e.Ports) > 0 {
		if err := h.hairpin(c, e, true); err != nil {
			return nil, nil, err
		}
	}
	if err := h.withoutAddress(link); err != nil {
		return nil, nil, err
	}
	return bridge, link, nil
}

// filtersBridged tells whether the host has bridged frames filtered and translated as packets: then a port of the bridge must
// pass a frame back to where it came from, for a container that calls a port that it published itself.
func (c *change) filtersBridged(h *host) bool {
	if c.filtered == nil {
		c.filtered = new(bool)
		_ = inside(h.ns, func() error {
			b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
			*c.filtered = len(b) > 0 && b[0] == '1'
			return err
		})
	}
	return *c.filtered
}

// hairpin has the endpoint's port of the bridge pass frames back, or not, where that matters.
func (h *host) hairpin(c *change, e *Endpoint, yes bool) error {
	if !c.filtersBridged(h) {
		return nil
	}
	link, err := h.link.LinkByName(e.HostInterface)
	if err == nil {
		err = h.link.LinkSetHairpin(link, yes)
	}
	if err != nil {
		return fmt.Errorf("let %s reach itself: %w", e.HostInterface, err)
	}
	return nil
}

// settle waits until the kernel has seen that an interface is up, and sends, listens, and passes frames on:
// what is sent before is lost, and a request for a neighbour is sent again only after a second.
func settle(h *netlink.Handle, end netlink.Link) {
	if end.Attrs().OperState == netlink.OperUp {
		return
	}
	for pause := 20 * time.Microsecond; pause < 200*time.Millisecond; pause += pause / 2 {
		l, err := h.LinkByIndex(end.Attrs().Index)
		if err != nil || l.Attrs().OperState == netlink.OperUp {
			return
		}
		time.Sleep(pause)
	}
}

// tryNames calls f with the name, or with eth0, eth1, … until one is free.
func tryNames(name string, f func(string) error) error {
	if name != "" {
		return f(name)
	}
	var err error
	for i := range 64 {
		if err = f("eth" + strconv.Itoa(i)); !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return err
}

// sit makes the sandbox's interface on one of the host's.
func (b *Sandbox) sit(h *host, n *Network, o *EndpointOptions, e *Endpoint) error {
	parent, err := h.link.LinkByName(n.Interface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", n.Interface, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.ParentIndex, attrs.MTU, attrs.Namespace = parent.Attrs().Index, n.MTU, netlink.NsFd(b.ns.Fd())
	err = tryNames(o.Interface, func(name string) error {
		attrs.Name, e.Interface = name, name
		if n.Driver == Ipvlan {
			return h.link.LinkAdd(&netlink.IPVlan{LinkAttrs: attrs, Mode: ipvlanModes[n.Mode]})
		}
		attrs.HardwareAddr = e.mac()
		return h.link.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: macvlanModes[n.Mode]})
	})
	if err != nil {
		return fmt.Errorf("make interface on %s: %w", n.Interface, explain(err, string(n.Driver)))
	}
	return nil
}

var (
	ipvlanModes = map[string]netlink.IPVlanMode{
		"": netlink.IPVLAN_MODE_L2, "l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3, "l3s": netlink.IPVLAN_MODE_L3S,
	}
	macvlanModes = map[string]netlink.MacvlanMode{
		"": netlink.MACVLAN_MODE_BRIDGE, "bridge": netlink.MACVLAN_MODE_BRIDGE, "private": netlink.MACVLAN_MODE_PRIVATE,
		"vepa": netlink.MACVLAN_MODE_VEPA, "passthru": netlink.MACVLAN_MODE_PASSTHRU,
	}
)

// configure gives the sandbox's interface its addresses and routes, and has its resolver listen, from a thread in the sandbox.
func (b *Sandbox) configure(n *Network, o *EndpointOptions, e *Endpoint) error {
	return inside(b.ns, func() error {
		if err := b.configureInside(n, o, e); err != nil {
			return fmt.Errorf("interface %s of the sandbox: %w", e.Interface, err)
		}
		return b.listen()
	})
}

func (b *Sandbox) configureInside(n *Network, o *EndpointOptions, e *Endpoint) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer h.Close()
	fd, err := openRoute()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: e.Interface}}
	if link.Index, err = interfaceIndex(fd, e.Interface); err != nil {
		return err
	}
	if err := b.s.parameters().setFor(e); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if !p.IsValid() {
			continue
		}
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // who else has it is known
		} else {
			a.Broadcast = net.IP(lastAddr(p).AsSlice())
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("give it the address %s: %w", p, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	if err := b.routes(h, n, o, e, link); err != nil {
		return err
	}
	settle(h, link)
	return nil
}

// routes adds the default routes by the network's gateways. Of several networks' the one with the smallest metric is used, and
// when it goes the next one.
func (b *Sandbox) routes(h *netlink.Handle, n *Network, o *EndpointOptions, e *Endpoint, link netlink.Link) error {
	if n.Internal {
		return nil
	}
	for _, sub := range n.Subnets {
		if !sub.Prefix.Contains(e.IPv4.Addr()) && !sub.Prefix.Contains(e.IPv6.Addr()) {
			continue // another of several
		}
		r := &netlink.Route{
			LinkIndex: link.Attrs().Index, Gw: sub.Gateway.AsSlice(), Priority: (maxPriority - o.GatewayPriority) * perPriority,
		}
		if n.Driver == Ipvlan && n.Mode != "" && n.Mode != "l2" {
			r.Gw, r.Scope = nil, netlink.SCOPE_LINK
			r.Dst = ipNet(netip.PrefixFrom(unspecified(sub.Gateway.Is6()), 0))
		}
		err := h.RouteAdd(r)
		for range perPriority {
			if !errors.Is(err, unix.EEXIST) {
				break
			}
			r.Priority++ // another network's, attached before
			err = h.RouteAdd(r)
		}
		if err != nil {
			return fmt.Errorf("default route by %s: %w", sub.Gateway, err)
		}
	}
	return nil
}

// perPriority is how many networks of one gateway priority have an order among them.
const perPriority = 64
