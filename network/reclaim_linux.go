package network

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// vethPrefix begins the names of the host's ends of veth pairs; twelve digits of the endpoint's ID follow.
const vethPrefix = "cv-"

// elements returns those of all networks to which something is attached, and of their endpoints.
func (s *Store) elements() ([]element, error) {
	networks, err := s.List()
	if err != nil {
		return nil, err
	}
	var all []element
	for _, n := range networks {
		if n.Driver != Bridge {
			continue
		}
		x, err := s.index(n.Name)
		if err != nil {
			return nil, err
		}
		endpoints := x.list()
		if len(endpoints) > 0 {
			all = append(all, networkElements(&n)...)
		}
		leaves := make(map[int]bool)
		for _, e := range endpoints {
			if e.Leaf != 0 && !leaves[e.Leaf] {
				leaves[e.Leaf] = true
				all = append(all, leafElements(&n, e.Leaf)...)
			}
			all = append(all, endpointElements(&e)...)
		}
	}
	return all, nil
}

// reclaim takes back the endpoints whose sandbox is dead, and bridges and interfaces that nothing is attached to. The
// caller holds the store's lock.
func (s *Store) reclaim(ctx context.Context) error {
	networks, err := s.List()
	if err != nil {
		return err
	}
	found := false
	torn := make(map[string]*index)
	for _, n := range networks {
		x, err := s.index(n.Name)
		if err != nil {
			return err
		}
		if x.size() == 0 {
			continue
		}
		if found = true; x.torn() {
			torn[n.Name] = x
		}
	}
	if s.o.UserMode != nil {
		err = s.reclaimUser(networks)
	} else {
		err = s.reclaimBridges(ctx, networks, found)
	}
	if err != nil {
		return err
	}
	for name, x := range torn {
		if err := (&change{s: s}).mend(name, x); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return nil
}

// reclaimBridges is reclaim but for user mode. some says that there are endpoints.
func (s *Store) reclaimBridges(ctx context.Context, networks []Network, some bool) error {
	links, err := s.ourLinks()
	if err != nil {
		return err
	}
	if !some && len(links) == 0 {
		return nil
	}
	h, err := s.openHost()
	if err != nil {
		return err
	}
	for _, n := range networks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.reclaimNetwork(h, &n, links); err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
	}
	return nil
}

// reclaimUser is reclaim in user mode: with a process its interfaces are gone.
func (s *Store) reclaimUser(networks []Network) error {
	for _, n := range networks {
		x, err := s.index(n.Name)
		if err != nil {
			return err
		}
		for _, e := range x.list() {
			if e.ID != s.attaching && !s.alive(&e, nil) {
				if err := s.dropEndpoint(x, &e); err != nil {
					return fmt.Errorf("network %s: %w", n.Name, err)
				}
			}
		}
	}
	return nil
}

// ourLinks returns the host's interfaces that are networks' or endpoints', by name: those of other stores too.
func (s *Store) ourLinks() (map[string]bool, error) {
	names := make(map[string]bool)
	err := inside(s.ns, func() error {
		links, err := dump(netlink.LinkList)
		if err != nil {
			return fmt.Errorf("list interfaces: %w", err)
		}
		for _, l := range links {
			a := l.Attrs()
			if strings.HasPrefix(a.Name, vethPrefix) || strings.HasPrefix(a.Alias, aliasPrefix) || strings.HasPrefix(a.Name, "cs-") {
				names[a.Name] = true
			}
		}
		return nil
	})
	return names, err
}

func (s *Store) reclaimNetwork(h *host, n *Network, links map[string]bool) error {
	x, err := s.index(n.Name)
	if err != nil {
		return err
	}
	alive, dead := 0, false
	for _, e := range x.list() {
		if e.ID == s.attaching || s.alive(&e, links) {
			alive++
			continue
		}
		dead = true
	}
	if n.Driver == Bridge {
		if err := s.deadLeaves(h, n, x, links); err != nil {
			return err
		}
	}
	// The last one's document goes after the bridge, so that this is done again if it is not done to its end.
	if alive == 0 && n.Driver == Bridge && (dead || links[n.Interface]) {
		if err := h.down(n); err != nil {
			return err
		}
	}
	for _, e := range x.list() {
		if e.ID == s.attaching || s.alive(&e, links) {
			continue
		}
		if err := s.takeBack(h, x, &e, nil); err != nil {
			return err
		}
	}
	return nil
}

// alive tells whether an endpoint's sandbox is there: with a network namespace the kernel deletes what is in it.
func (s *Store) alive(e *Endpoint, links map[string]bool) bool {
	// Whoever opened the store with another namespace knows what is in that one.
	if e.HostInterface != "" && (e.Host == s.hostNS() || e.Host == "") {
		return links[e.HostInterface]
	}
	if e.Owner.Boot != s.boot || e.Owner.PID == 0 {
		return false
	}
	start, err := startTime(e.Owner.PID)
	return err == nil && start == e.Owner.Start
}

// dead tells whether an endpoint's sandbox is gone for certain. The kernel deletes its interface a moment after its process.
func (s *Store) dead(e *Endpoint) (bool, error) {
	if o := e.Owner; o.PID != 0 {
		if start, err := startTime(o.PID); o.Boot != s.boot || err != nil || start != o.Start {
			return true, nil
		}
	}
	links, err := s.ourLinks()
	return err == nil && !s.alive(e, links), err
}

// hostNS names the network namespace that the store's bridges are in.
func (s *Store) hostNS() string {
	path := "/proc/thread-self/ns/net"
	if s.ns != nil {
		path = fmt.Sprintf("/proc/self/fd/%d", s.ns.Fd())
	}
	name, _ := os.Readlink(path) // "" is none's
	return name
}

// release takes an endpoint back, with the last one of a leaf the leaf, and with the last of all the bridge: in one transaction,
// whose elements go before the interfaces by which the next one finds what somebody who was killed left.
func (s *Store) release(h *host, n *Network, x *index, e *Endpoint) error {
	if s.o.UserMode != nil || n.Driver != Bridge {
		return s.takeBack(h, x, e, nil)
	}
	var elements []element
	alone, last := e.Leaf != 0 && x.others(e, e.Leaf) == 0, x.others(e, -1) == 0
	if alone {
		elements = append(elements, leafElements(n, e.Leaf)...)
	}
	if last {
		elements = append(elements, networkElements(n)...)
	}
	if err := s.takeBack(h, x, e, elements); err != nil {
		return err
	}
	if alone {
		if err := h.removeLeaf(n, e.Leaf); err != nil {
			return err
		}
	}
	if last {
		return h.removeBridge(n)
	}
	return nil
}

// takeBack removes an endpoint: its interface, its elements and others, its document.
func (s *Store) takeBack(h *host, x *index, e *Endpoint, others []element) error {
	if s.o.UserMode != nil {
		return s.dropEndpoint(x, e)
	}
	errs := []error{s.removeFromSharers(e)}
	if e.HostInterface != "" {
		if l, err := h.link.LinkByName(e.HostInterface); err == nil {
			if err := h.link.LinkDel(l); err != nil && !isGone(err) {
				errs = append(errs, fmt.Errorf("remove interface %s: %w", e.HostInterface, err))
			}
		}
	}
	if elements := append(endpointElements(e), others...); len(elements) > 0 {
		errs = append(errs, h.rules.remove(elements))
	}
	if len(e.Egress) > 0 {
		errs = append(errs, h.rules.unlearn(e))
	}
	if err := errors.Join(errs...); err != nil {
		return err // the document stays, so that the next one tries again
	}
	return s.dropEndpoint(x, e)
}

// bootID tells one run of the kernel from the next.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// startTime returns field 22 of /proc/PID/stat: the process's start in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, and may itself hold spaces and parentheses.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// ulaPool is a /48 of fd00::/8 of the machine's and the store's own.
func ulaPool(dir string) Pool {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		id, _ = os.ReadFile("/proc/sys/kernel/random/boot_id")
	}
	sum := sha256.Sum256(append(id, dir...))
	a := [16]byte{0xfd}
	copy(a[1:6], sum[:])
	return Pool{netip.PrefixFrom(netip.AddrFrom16(a), 48), 64}
}
