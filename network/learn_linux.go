package network

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A bridge learns from frames at which port a hardware address is. Of the source of those to link-local groups, as LLDP's, it learns
// where no rule of nftables sees them: with such a container could draw its neighbours' frames to itself. So the bridge does not learn at
// containers' ports, and is told what is there. The ports between a network's bridge and its leaves, which it does not pass such frames
// on to, still learn.

// tell sets what a bridge does at the endpoint's port, and has it know the endpoint's hardware address there, which goes with the port.
func (h *host) tell(n *Network, e *Endpoint, index int) error {
	set := nl.NewNetlinkRequest(unix.RTM_SETLINK, 0)
	set.Seq = 1
	link := nl.NewIfInfomsg(unix.AF_BRIDGE)
	link.Index = int32(index)
	set.AddData(link)
	port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	port.AddRtAttr(nl.IFLA_BRPORT_LEARNING, []byte{0})
	if n.Isolated {
		port.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, []byte{1})
	}
	set.AddData(port)
	// In place of what a bridge has learned of one that had the address, too.
	add := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	add.Seq = 2
	add.AddData(&netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(index), State: unix.NUD_NOARP, Flags: unix.NTF_MASTER})
	add.AddData(nl.NewRtAttr(unix.NDA_LLADDR, e.mac()))
	if err := transaction(append(set.Serialize(), add.Serialize()...)).commit(h.route); err != nil {
		return fmt.Errorf("tell the bridge what is at %s: %w", e.HostInterface, err)
	}
	return nil
}

// eachPort calls f with all endpoints whose ports are in the store's network namespace.
func (s *Store) eachPort(f func(*Network, *Endpoint) error) error {
	networks, err := s.List()
	if err != nil {
		return err
	}
	for _, n := range networks {
		if n.Driver != Bridge {
			continue
		}
		x, err := s.index(n.Name)
		if err != nil {
			return err
		}
		for _, e := range x.list() {
			if e.HostInterface == "" || e.Host != "" && e.Host != s.hostNS() {
				continue
			}
			if err := f(&n, &e); err != nil {
				return err
			}
		}
	}
	return nil
}

// repairPorts tells bridges again what is at their ports.
func (s *Store) repairPorts(h *host) error {
	return s.eachPort(func(n *Network, e *Endpoint) error {
		index, err := interfaceIndex(h.route, e.HostInterface)
		if err == nil {
			err = h.tell(n, e, index)
		}
		if isGone(err) {
			return nil
		}
		return err
	})
}

// checkPorts compares what bridges do at endpoints' ports, and know of them, with what they should. Those that are down pass nothing.
func (s *Store) checkPorts() error {
	h, err := s.openHost()
	if err != nil {
		return err
	}
	learns := make(map[string]bool)
	indexes := make(map[string]int)
	err = inside(s.ns, func() error {
		links, err := dump(func() ([][]byte, error) {
			req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
			req.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
			return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
		})
		if err != nil {
			return fmt.Errorf("list ports of bridges: %w", err)
		}
		for _, b := range links {
			if name, index, learning := readPort(b); name != "" {
				learns[name], indexes[name] = learning, index
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	known, err := dump(func() ([]netlink.Neigh, error) { return h.link.NeighList(0, unix.AF_BRIDGE) })
	if err != nil {
		return fmt.Errorf("list what bridges know: %w", err)
	}
	told := make(map[int][]netlink.Neigh)
	for _, k := range known {
		if k.State&unix.NUD_NOARP != 0 && k.Vlan == 0 { // a bridge that knows VLANs has one for the first, too, and uses none
			told[k.LinkIndex] = append(told[k.LinkIndex], k)
		}
	}
	var errs []error
	err = s.eachPort(func(_ *Network, e *Endpoint) error {
		index, up := indexes[e.HostInterface]
		if !up {
			return nil
		}
		if learns[e.HostInterface] {
			errs = append(errs, fmt.Errorf("the bridge learns at %s", e.HostInterface))
		}
		found := false
		for _, k := range told[index] {
			found = found || bytes.Equal(k.HardwareAddr, e.mac())
		}
		if !found {
			errs = append(errs, fmt.Errorf("the bridge does not know that %s is at %s", e.MAC, e.HostInterface))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// readPort reads what the kernel says of a port that is up.
func readPort(b []byte) (name string, index int, learning bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return "", 0, false
	}
	link := nl.DeserializeIfInfomsg(b)
	attrs, err := nl.ParseRouteAttr(b[link.Len():])
	if err != nil || link.Flags&unix.IFF_UP == 0 {
		return "", 0, false
	}
	port := false
	for _, a := range attrs {
		switch a.Attr.Type & nl.NLA_TYPE_MASK {
		case unix.IFLA_IFNAME:
			name = string(bytes.TrimRight(a.Value, "\x00"))
		case unix.IFLA_PROTINFO:
			settings, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return "", 0, false
			}
			port = true
			for _, s := range settings {
				if s.Attr.Type == nl.IFLA_BRPORT_LEARNING && len(s.Value) > 0 {
					learning = s.Value[0] != 0
				}
			}
		}
	}
	if !port {
		return "", 0, false
	}
	return name, int(link.Index), learning
}
