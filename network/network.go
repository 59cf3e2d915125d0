package network

import (
	"fmt"
	"io/fs"
	"net/netip"
	"time"
)

// A Driver is a kind of network.
type Driver string

// The drivers. Macvlan and Ipvlan give a container an interface on one of the host's: it is a machine of its own beside the
// host, with no address translation, no published port and no pinning, and the host itself cannot reach it.
const (
	Bridge  Driver = "bridge"
	Macvlan Driver = "macvlan"
	Ipvlan  Driver = "ipvlan"
)

// A Network is one network of a store, as it was when it was read.
type Network struct {
	// Name is unique in its store. ID is 64 hexadecimal digits.
	Name   string `json:"name"`
	ID     string `json:"id"`
	Driver Driver `json:"driver"`
	// Subnets are its addresses: one of IPv4, one of IPv6, or both; of drivers Macvlan and Ipvlan several of either.
	Subnets []Subnet `json:"subnets"`
	// Interface is the bridge's name on the host, or the interface that macvlan and ipvlan sit on.
	Interface string `json:"interface"`
	// Mode is macvlan's ("bridge", "private", "vepa", "passthru") or ipvlan's ("l2", "l3", "l3s").
	Mode string `json:"mode,omitempty"`
	// Internal, Isolated, NoMasquerade, MTU, Egress and Labels are those of CreateOptions.
	Internal     bool              `json:"internal,omitempty"`
	Isolated     bool              `json:"isolated,omitempty"`
	NoMasquerade bool              `json:"noMasquerade,omitempty"`
	MTU          int               `json:"mtu,omitempty"`
	Egress       *Egress           `json:"egress,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	// Options are the driver's options as somebody wrote them: for those who show them, with no meaning here.
	Options map[string]string `json:"options,omitempty"`
	Created time.Time         `json:"created"`
}

// A Subnet is a range of addresses of a network.
type Subnet struct {
	// Prefix is the subnet: 172.18.0.0/16.
	Prefix netip.Prefix `json:"prefix"`
	// Gateway is the host's address in it. The zero value means the first one, when a network is created.
	Gateway netip.Addr `json:"gateway,omitzero"`
	// Range is the part of Prefix from which addresses are given out that nobody asked for. The zero value means all.
	Range netip.Prefix `json:"range,omitzero"`
	// Reserved are addresses of Prefix that no endpoint gets, such as those of other machines, by names that have no meaning here.
	Reserved map[string]netip.Addr `json:"reserved,omitempty"`
}

// reserves tells whether no endpoint may have the address.
func (s *Subnet) reserves(a netip.Addr) bool {
	for _, r := range s.Reserved {
		if r == a {
			return true
		}
	}
	return false
}

// withGateway is the subnet with its first address as its gateway, if it has none.
func (s Subnet) withGateway() Subnet {
	if !s.Gateway.IsValid() {
		s.Gateway = s.Prefix.Addr().Next()
	}
	return s
}

// subnets returns the subnets of a family.
func (n *Network) subnets(ipv6 bool) (all []Subnet) {
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is6() == ipv6 {
			all = append(all, s)
		}
	}
	return all
}

// Subnet returns the network's subnet of IPv4, or of IPv6, the first of several.
func (n *Network) Subnet(ipv6 bool) (Subnet, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is6() == ipv6 {
			return s, true
		}
	}
	return Subnet{}, false
}

// CreateOptions are the optional settings of Create.
type CreateOptions struct {
	// Driver is Bridge if it is empty.
	Driver Driver
	// Subnets are at most one of IPv4 and one of IPv6, of drivers Macvlan and Ipvlan several, of which an endpoint gets an address of one
	// each: the first that has room. If none of IPv4 is given, a free one is taken from the store's
	// pools, unless NoIPv4 is set. It must not overlap with another network or a route of the host.
	Subnets []Subnet
	// IPv6 takes a free subnet of IPv6 from the store's pools if none is given. NoIPv4 leaves IPv4 out.
	IPv6, NoIPv4 bool
	// Internal networks reach neither the world nor the host, nor are they reached, but by Dial and Listen. They publish
	// no ports, and their containers' other names are not resolved.
	Internal bool
	// Isolated keeps the containers of the network from reaching each other, but by published ports.
	Isolated bool
	// NoMasquerade leaves the source address of what goes to the world as it is: for hosts that route to the subnet.
	NoMasquerade bool
	// MTU in bytes, 1280 to 65535 (68 without IPv6). Zero means that of the interface of the host's default route, else 1500.
	MTU int
	// Egress, if it is not nil, is what containers may connect to by this network, which must be a bridge.
	Egress *Egress
	// Interface is the bridge's name, at most 15 bytes. Empty means "cs-" and 12 digits of the ID. For Macvlan and
	// Ipvlan it is the host's interface to sit on, and required.
	Interface string
	// Mode of Macvlan and Ipvlan. Empty means "bridge" and "l2".
	Mode string
	// Labels and Options are kept with the network, 64 KiB of them at most; see [Network].
	Labels, Options map[string]string
}

// Returned, wrapped, by a Store's and a Sandbox's calls.
var (
	// ErrNotFound is returned when there is no network with the name. It satisfies fs.ErrNotExist.
	ErrNotFound error = &sentinel{"no such network", fs.ErrNotExist}
	// ErrExists is returned by Create when the name is taken. It satisfies fs.ErrExist.
	ErrExists error = &sentinel{"network exists already", fs.ErrExist}
	// ErrInUse is returned by Remove while something is attached, and for an address or MAC that another endpoint has.
	ErrInUse error = &sentinel{"is in use", nil}
	// ErrName is returned for a name that no network can have. It satisfies fs.ErrInvalid.
	ErrName error = &sentinel{"network names are 1 to 128 of [a-zA-Z0-9_.-], the first a letter or digit", fs.ErrInvalid}
	// ErrInvalid is returned for an option that can never be right; the message names it. It satisfies fs.ErrInvalid.
	ErrInvalid error = &sentinel{"invalid option", fs.ErrInvalid}
	// ErrOverlap is returned by Create for a subnet that overlaps with another network or a route of the host.
	ErrOverlap error = &sentinel{"subnet overlaps", nil}
	// ErrExhausted is returned when no subnet or address is left.
	ErrExhausted error = &sentinel{"no address is left", nil}
	// ErrPortInUse is returned when a published port is bound by somebody else.
	ErrPortInUse error = &sentinel{"port is already allocated", nil}
)

type sentinel struct {
	text string
	is   error
}

func (e *sentinel) Error() string        { return e.text }
func (e *sentinel) Is(target error) bool { return e.is != nil && target == e.is }

// invalid makes an ErrInvalid that names the option.
func invalid(option, format string, args ...any) error {
	return &optionError{option, fmt.Sprintf(format, args...)}
}

type optionError struct{ option, why string }

func (e *optionError) Error() string        { return e.option + ": " + e.why }
func (e *optionError) Is(target error) bool { return target == ErrInvalid || target == fs.ErrInvalid }

const maxName = 128

// CheckName tells whether a network can have the name: [a-zA-Z0-9][a-zA-Z0-9_.-]*. The error is ErrName.
func CheckName(name string) error {
	ok := len(name) >= 1 && len(name) <= maxName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = alnum || i > 0 && (c == '_' || c == '.' || c == '-')
	}
	if !ok {
		return fmt.Errorf("network %q: %w", name, ErrName)
	}
	return nil
}
