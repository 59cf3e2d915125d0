package network

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An Endpoint is a sandbox's interface on a network, as it was when it was read.
type Endpoint struct {
	// ID is 32 hexadecimal digits.
	ID string `json:"id"`
	// Network is the network's name.
	Network string `json:"network"`
	// Sandbox is the ID that its SandboxOptions gave.
	Sandbox string `json:"sandbox"`
	// Names are what the resolvers of other sandboxes on the network know it by. The first one is given for its addresses.
	Names []string `json:"names,omitempty"`
	// Links are those of its EndpointOptions, in small letters.
	Links map[string]string `json:"links,omitempty"`
	// Interface is its name in the sandbox, "eth0".
	Interface string `json:"interface"`
	// HostInterface is the other end's name, on the bridge. Macvlan and ipvlan have none.
	HostInterface string `json:"hostInterface,omitempty"`
	// Leaf is 0 where HostInterface is a port of the network's bridge, else the number of the bridge beside it that it is a port of.
	Leaf int `json:"leaf,omitempty"`
	// IPv4 and IPv6 are its addresses with the length of the subnet's prefix. A family that the network lacks is not valid.
	IPv4 netip.Prefix `json:"ipv4,omitzero"`
	IPv6 netip.Prefix `json:"ipv6,omitzero"`
	// MAC is the hardware address, "02:ca:ac:12:00:02".
	MAC string `json:"mac"`
	// Ports are the published ports, each one bound.
	Ports []Port `json:"ports,omitempty"`
	// Egress are the allow-lists that hold for the sandbox here, its own and the network's: what all of them allow.
	Egress Policies `json:"egress,omitempty"`
	// GatewayPriority is that of its EndpointOptions.
	GatewayPriority int       `json:"gatewayPriority,omitempty"`
	Created         time.Time `json:"created"`
	// Owner is the process whose end is the endpoint's, where the kernel does not tell by HostInterface. Host is the network
	// namespace that HostInterface is in, as /proc/PID/ns/net reads.
	Owner owner  `json:"owner,omitzero"`
	Host  string `json:"host,omitempty"`
}

// An owner is a process: the start time and the boot tell it from a later one with the same number.
type owner struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
	Boot  string `json:"boot,omitempty"`

	NetNS string `json:"netns,omitempty"` // its network namespace, where the interface in there is all there is
}

// EndpointOptions are the optional settings of Attach.
type EndpointOptions struct {
	// Names are what the sandbox is called on the network: its container's name, aliases. At most 64 of at most 253 bytes.
	Names []string
	// Links are what this sandbox alone calls others on the network: each goes before the names of the network, and stands for the name
	// that it leads to. At most 64.
	Links map[string]string
	// IPv4 and IPv6 are addresses of the network's subnets. The zero value means any that is free.
	IPv4, IPv6 netip.Addr
	// MAC is a unicast hardware address of 6 bytes. Nil means one made of the address.
	MAC net.HardwareAddr
	// Ports are published on the host. A network that is internal, macvlan or ipvlan publishes none.
	Ports []Port
	// Reserved are ports that [Store.Reserve] has bound, to be published besides Ports. Attach takes them over.
	Reserved *Reservation
	// GatewayPriority says which network's gateway is the sandbox's default one: that of the highest priority, and of
	// those the one attached first. From -1000 to 1000.
	GatewayPriority int
	// Egress, if it is not nil, is what the sandbox may connect to by this network, a bridge, where the network's own allows it too.
	Egress *Egress
	// Interface is the name in the sandbox. Empty means the first free of "eth0", "eth1", … .
	Interface string
}

const (
	maxNames    = 64
	maxHostName = 253
	maxPriority = 1000
)

func (o *EndpointOptions) check(n *Network) error {
	if err := checkHostNames("Names", o.Names); err != nil {
		return err
	}
	for alias, name := range o.Links {
		if err := checkHostNames("Links", []string{alias, name}); err != nil {
			return err
		}
	}
	if len(o.Links) > maxNames {
		return invalid("Links", "%d are more than %d", len(o.Links), maxNames)
	}
	for option, a := range map[string]netip.Addr{"IPv4": o.IPv4, "IPv6": o.IPv6} {
		if !a.IsValid() {
			continue
		}
		if a.Is6() != (option == "IPv6") || a.Is4In6() || a.Zone() != "" {
			return invalid(option, "%s is of the other family", a)
		}
		s, ok := n.Subnet(a.Is6())
		if !ok {
			return invalid(option, "network %s has no subnet of that family", n.Name)
		}
		for _, other := range n.subnets(a.Is6()) {
			if other.Prefix.Contains(a) {
				s = other
			}
		}
		if !usable(s.Prefix, a) {
			return invalid(option, "%s is no address of the network's subnet %s", a, s.Prefix)
		}
		if a == s.Gateway {
			return invalid(option, "%s is the network's gateway", a)
		}
		if s.reserves(a) {
			return invalid(option, "%s is reserved in the network", a)
		}
	}
	if o.MAC != nil && (len(o.MAC) != 6 || o.MAC[0]&1 != 0 || slices.Max(o.MAC) == 0) {
		return invalid("MAC", "%s is no unicast address of 6 bytes", o.MAC)
	}
	if o.GatewayPriority < -maxPriority || o.GatewayPriority > maxPriority {
		return invalid("GatewayPriority", "%d is not from %d to %d", o.GatewayPriority, -maxPriority, maxPriority)
	}
	if err := checkInterface(o.Interface); err != nil {
		return err
	}
	if err := o.Egress.check(); err != nil {
		return err
	}
	if o.Egress != nil && n.Driver != Bridge {
		return invalid("Egress", "a network of driver %s goes past the host's rules", n.Driver)
	}
	if len(o.Ports) > 0 || o.Reserved != nil && len(o.Reserved.ports) > 0 {
		switch {
		case n.Driver != Bridge:
			return invalid("Ports", "a network of driver %s publishes none", n.Driver)
		case n.Internal:
			return invalid("Ports", "an internal network publishes none")
		}
	}
	return nil
}

func checkHostNames(option string, names []string) error {
	if len(names) > maxNames {
		return invalid(option, "%d are more than %d", len(names), maxNames)
	}
	for _, name := range names {
		if name == "" || len(name) > maxHostName {
			return invalid(option, "%q is not of 1 to %d bytes", name, maxHostName)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return invalid(option, "%q has a character that no host's name has", name)
		}
	}
	return nil
}

// linked is what an endpoint's Links lead to.
func linked(links map[string]string) map[string]string {
	if len(links) == 0 {
		return nil
	}
	all := make(map[string]string, len(links))
	for alias, name := range links {
		all[strings.ToLower(alias)] = strings.ToLower(name)
	}
	return all
}

// macOf makes a hardware address of an address, so that neighbours' caches hold when an address is given out again.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	return append(net.HardwareAddr{0x02, 0xca}, b[len(b)-4:]...)
}

// linkLocal is the link-local address that the kernel makes of a hardware address.
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5],
	})
}

func (e *Endpoint) mac() net.HardwareAddr {
	m, err := net.ParseMAC(e.MAC)
	if err != nil || len(m) != 6 {
		return make(net.HardwareAddr, 6)
	}
	return m
}
