package network

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
)

// A container on an interface of the host has its own end alone, which the kernel deletes with the network namespace. Where others, which
// joined the container, keep that alive, its address would be theirs still when the next one gets it.

// removeFromSharers removes an endpoint's interface from a network namespace that is there although the endpoint's process is gone. Who
// holds one without a process in it is not found.
func (s *Store) removeFromSharers(e *Endpoint) error {
	if e.HostInterface != "" || e.Owner.NetNS == "" || e.Owner.Boot != s.boot {
		return nil
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, d := range all {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		path := filepath.Join("/proc", d.Name(), "ns/net")
		if name, err := os.Readlink(path); err != nil || name != e.Owner.NetNS {
			continue
		}
		ns, err := os.Open(path)
		if err != nil {
			continue // it ended
		}
		if namespaceName(ns) == e.Owner.NetNS {
			err = inside(ns, func() error { return removeOwn(e) })
			_ = ns.Close()
			return err
		}
		_ = ns.Close()
	}
	return nil
}

// namespaceName names a namespace, and "" is none's.
func namespaceName(ns *os.File) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()))
	return name
}

// removeOwn removes the interface that is the endpoint's from the calling thread's network namespace, which may be another one by now that has
// the name.
func removeOwn(e *Endpoint) error {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		own := l.Type() == "macvlan" && bytes.Equal(l.Attrs().HardwareAddr, e.mac())
		if l.Type() == "ipvlan" { // whose hardware address is the host's
			own, err = hasAddress(l, e)
			if err != nil {
				return err
			}
		}
		if !own {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !isGone(err) {
			return fmt.Errorf("remove interface %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func hasAddress(l netlink.Link, e *Endpoint) (bool, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, a := range addrs {
		for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
			if p.IsValid() && a.IP.Equal(net.IP(p.Addr().AsSlice())) {
				return true, nil
			}
		}
	}
	return false, nil
}
