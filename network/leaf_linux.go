package network

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A bridge of Linux takes 1,023 ports, and to join one takes the longer the more it has. So the containers of a network that
// are more than its bridge takes are on leaves: bridges without an address, each joined to the network's bridge by a pair of
// interfaces. Frames pass; nothing on a leaf speaks to the host but through the network's bridge.
const (
	perBridge = 256 // endpoints on one bridge
	maxLeaves = 700 // of one network: ports of its bridge

	// Where the host has bridged frames filtered as packets, a container on a leaf does not reach the ports that a container of
	// the same leaf publishes. So there leaves come as late as can be.
	perFiltered       = 1000
	maxLeavesFiltered = 20
)

// Prefixes of names. Eight digits of the network's ID, a hyphen and three of the leaf's number follow. The pair's
// ends are a port of the network's bridge and one of the leaf.
const (
	leafPrefix  = "cs-"
	trunkPrefix = "ct-"
	stalkPrefix = "cu-"
)

func leafName(prefix string, n *Network, leaf int) string {
	return fmt.Sprintf("%s%s-%03x", prefix, n.ID[:8], leaf)
}

// leafOf returns the number of the network's leaf that has the name, or 0.
func leafOf(n *Network, name string) int {
	digits, ok := strings.CutPrefix(name, leafPrefix+n.ID[:8]+"-")
	leaf, err := strconv.ParseUint(digits, 16, 12)
	if !ok || err != nil {
		return 0
	}
	return int(leaf)
}

// isPort tells by its name whether an interface is a port of a network's bridge or of a leaf.
func isPort(name string) bool {
	return strings.HasPrefix(name, vethPrefix) || strings.HasPrefix(name, trunkPrefix) || strings.HasPrefix(name, stalkPrefix)
}

// chooseLeaf returns the first leaf that has room, 0 for the network's own bridge.
func (c *change) chooseLeaf(h *host, x *index) (int, error) {
	if x.on(0) < c.s.perBridge {
		return 0, nil
	}
	most, leaves := c.s.perBridge, maxLeaves
	if c.filtersBridged(h) {
		most, leaves = max(most, perFiltered), maxLeavesFiltered
	}
	for leaf := range leaves + 1 {
		if x.on(leaf) < most {
			return leaf, nil
		}
	}
	return 0, fmt.Errorf("%w: a network's bridge and its %d leaves take %d endpoints each; put some on another network",
		ErrExhausted, leaves, most)
}

// others returns how many endpoints beside e are on a leaf; of -1, on any.
func (x *index) others(e *Endpoint, leaf int) int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := len(x.all)
	if leaf >= 0 {
		n = x.leaves[leaf]
	}
	if x.all[e.ID] != nil {
		n--
	}
	return n
}

// on returns how many endpoints are on a leaf.
func (x *index) on(leaf int) int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.leaves[leaf]
}

// leafElements are a leaf's own: its frames, here those that come from the network's bridge, are not tracked, and stay between its ports.
func leafElements(n *Network, leaf int) []element {
	name := ifname(leafName(leafPrefix, n, leaf))
	return []element{
		{set: "leaves", key: name}, {set: "same", key: join(name, name)},
		{set: "leafports", key: ifname(leafName(stalkPrefix, n, leaf))},
	}
}

// leaf makes a leaf and joins it to the network's bridge, unless that was done. The rest is r's, and to be finished.
func (h *host) leaf(c *change, n *Network, bridge netlink.Link, leaf int, r *rise) (_ netlink.Link, err error) {
	name := leafName(leafPrefix, n, leaf)
	l, err := h.link.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case err == nil && l.Type() != "bridge":
		return nil, fmt.Errorf("interface %s is there and not this network's: %w", name, ErrInUse)
	case err == nil && l.Attrs().Flags&net.FlagUp != 0:
		return l, nil
	case err == nil: // somebody was killed half way, or an administrator set it down
		return l, h.join(c, n, bridge, l, leaf, r)
	case !errors.As(err, &missing):
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, bridge.Attrs().MTU, randomMAC()
	l = &netlink.Bridge{LinkAttrs: attrs}
	if err := h.link.LinkAdd(l); err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", name, explain(err, "bridge"))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.removeLeaf(n, leaf))
		}
	}()
	return l, h.join(c, n, bridge, l, leaf, r)
}

// join joins a leaf that is there to the network's bridge, whatever of it was done.
func (h *host) join(c *change, n *Network, bridge, l netlink.Link, leaf int, r *rise) error {
	name := l.Attrs().Name
	// The host has no address there, nor does it answer for those that it has elsewhere.
	if err := h.link.LinkSetARPOff(l); err != nil {
		return fmt.Errorf("silence %s: %w", name, err)
	}
	err := inside(h.ns, func() error {
		return c.s.parameters().set("ipv6/conf/"+name+"/disable_ipv6", "1")
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ends, err := h.trunk(n, bridge, l, leaf)
	if err != nil {
		return err
	}
	r.elements = append(r.elements, leafElements(n, leaf)...)
	r.down, r.ends = append(append(r.down, ends...), l), append(r.ends, ends...)
	return nil
}

// trunk joins a leaf to the network's bridge by a pair, which is made if need be, and down then.
func (h *host) trunk(n *Network, bridge, leaf netlink.Link, number int) ([]netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = leafName(trunkPrefix, n, number), bridge.Attrs().MTU, bridge.Attrs().Index
	peer := leafName(stalkPrefix, n, number)
	var near netlink.Link = &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerMTU: uint32(attrs.MTU)}
	err := h.link.LinkAdd(near)
	if errors.Is(err, unix.EXFULL) || errors.Is(err, unix.ENOSPC) {
		return nil, fmt.Errorf("join %s and %s: the bridge has 1023 ports, which is all that it takes: %w: %w",
			n.Interface, leaf.Attrs().Name, ErrExhausted, err)
	}
	if errors.Is(err, unix.EEXIST) {
		if near, err = h.link.LinkByName(attrs.Name); err == nil {
			err = h.link.LinkSetMaster(near, bridge)
		}
	}
	var far netlink.Link
	if err == nil {
		far, err = h.link.LinkByName(peer)
	}
	if err == nil {
		err = h.link.LinkSetMaster(far, leaf)
	}
	if err == nil && n.Isolated { // from the bridge's other ports, as those of the leaf are from each other
		err = h.link.LinkSetIsolated(near, true)
	}
	for _, end := range []netlink.Link{near, far} {
		if err == nil {
			err = h.withoutAddress(end)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("join %s and %s: %w", n.Interface, leaf.Attrs().Name, explain(err, "veth"))
	}
	return []netlink.Link{near, far}, nil
}

// withoutAddress keeps a bridge's port without an address of its own. Its kernel parameters are better left alone: to
// find one takes longer the more network namespaces there are.
func (h *host) withoutAddress(port netlink.Link) error {
	err := h.link.LinkSetIP6AddrGenMode(port, nl.IN6_ADDR_GEN_MODE_NONE)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("keep %s without an address: %w", port.Attrs().Name, err)
	}
	return nil
}

// leafDown removes what there is of a leaf: the bridge last, by which the next one finds what somebody who was killed left.
func (h *host) leafDown(n *Network, leaf int) error {
	if err := h.rules.remove(leafElements(n, leaf)); err != nil {
		return err
	}
	return h.removeLeaf(n, leaf)
}

func (h *host) removeLeaf(n *Network, leaf int) error {
	for _, prefix := range []string{trunkPrefix, leafPrefix} {
		name := leafName(prefix, n, leaf)
		l, err := h.link.LinkByName(name)
		if err == nil {
			err = h.link.LinkDel(l)
		}
		if err != nil && !isGone(err) {
			return fmt.Errorf("remove interface %s: %w", name, err)
		}
	}
	return nil
}

// deadLeaves removes the leaves among the host's interfaces that nothing alive is on.
func (s *Store) deadLeaves(h *host, n *Network, x *index, links map[string]bool) error {
	live := make(map[int]bool)
	for _, e := range x.list() {
		if e.ID == s.attaching || s.alive(&e, links) {
			live[e.Leaf] = true
		}
	}
	for name := range links {
		if leaf := leafOf(n, name); leaf != 0 && !live[leaf] {
			if err := h.leafDown(n, leaf); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkLeaves compares the leaves that are there with those that endpoints are on.
func checkLeaves(n *Network, endpoints []Endpoint, links map[string]bool) error {
	var errs []error
	used := make(map[string]bool)
	for _, e := range endpoints {
		if e.Leaf != 0 {
			used[leafName(leafPrefix, n, e.Leaf)] = true
		}
	}
	for name := range used {
		if !links[name] {
			errs = append(errs, fmt.Errorf("bridge %s is not there, and endpoints are on it", name))
		}
	}
	for name := range links {
		if leafOf(n, name) != 0 && !used[name] {
			errs = append(errs, fmt.Errorf("bridge %s is there, and no endpoint is on it", name))
		}
	}
	return errors.Join(errs...)
}

// randomMAC returns a hardware address that is nobody's.
func randomMAC() net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	_, _ = rand.Read(mac) // never fails
	mac[0] = mac[0]&^1 | 2
	return mac
}
