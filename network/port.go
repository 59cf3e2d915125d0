package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Port is a port of a sandbox that is published on the host.
type Port struct {
	// Protocol is "tcp", "udp" or "sctp". Empty means "tcp". Sctp takes the kernel's, and is refused in user mode. Associations that come by
	// an address of the host from the host itself, or in a family that the sandbox lacks, are passed on: messages of at most 4 MiB, in
	// at most 1,024 streams each way.
	Protocol string `json:"protocol,omitempty"`
	// Container is the port in the sandbox, 1 to 65535.
	Container uint16 `json:"container"`
	// Host is the port of the host. Zero means any that is free; the endpoint's Ports have what it became.
	Host uint16 `json:"host"`
	// HostEnd, if it is not zero, makes Host and HostEnd a range from which the first free port is taken.
	HostEnd uint16 `json:"hostEnd,omitempty"`
	// Address is the host's address that it is published on. The zero value means all of them, IPv4 and IPv6.
	// 0.0.0.0 means all of IPv4, and :: all of IPv6.
	Address netip.Addr `json:"address,omitzero"`
}

// String returns the port as Docker's ps shows it: "0.0.0.0:8080->80/tcp".
func (p Port) String() string {
	a := "0.0.0.0"
	if p.Address.IsValid() {
		a = p.Address.String()
	}
	if strings.Contains(a, ":") {
		a = "[" + a + "]"
	}
	return fmt.Sprintf("%s:%d->%d/%s", a, p.Host, p.Container, cmp.Or(p.Protocol, "tcp"))
}

func (p *Port) check() error {
	switch p.Protocol {
	case "tcp", "udp", "sctp":
	default:
		return invalid("Ports", "protocol %q is none of tcp, udp, sctp", p.Protocol)
	}
	if p.Container == 0 {
		return invalid("Ports", "port 0 of the container")
	}
	if p.HostEnd != 0 && (p.HostEnd < p.Host || p.Host == 0) {
		return invalid("Ports", "%d-%d is no range", p.Host, p.HostEnd)
	}
	if p.Address.Is4In6() || p.Address.Zone() != "" || p.Address.IsMulticast() {
		return invalid("Ports", "%s cannot be published on", p.Address)
	}
	return nil
}

// maxPorts bounds the ports of one specification.
const maxPorts = 4096

// ParsePorts reads a specification of published ports as docker run --publish has it:
// [[address:][port[-port]]:]port[-port][/protocol]. A range of the container's is published on as many of the host's.
func ParsePorts(spec string) ([]Port, error) {
	bad := func(why string) ([]Port, error) {
		return nil, invalid("Ports", "%q: %s", spec, why)
	}
	rest, protocol, given := strings.Cut(spec, "/")
	protocol = strings.ToLower(protocol)
	if !given {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return bad("the protocol is none of tcp, udp, sctp")
	}
	host, container := "", rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host, container = rest[:i], rest[i+1:]
	}
	var address netip.Addr
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		text := strings.TrimSuffix(strings.TrimPrefix(host[:i], "["), "]")
		if text != "" {
			var err error
			address, err = netip.ParseAddr(text)
			if err != nil || address.Zone() != "" {
				return bad("the address is none")
			}
		}
		host = host[i+1:]
	}
	first, last, ok := parseRange(container)
	if !ok || first == 0 {
		return bad("the container's port is not from 1 to 65535")
	}
	var hostFirst, hostLast uint16
	if host != "" {
		if hostFirst, hostLast, ok = parseRange(host); !ok {
			return bad("the host's port is not from 0 to 65535")
		}
	}
	count, hosts := int(last)-int(first)+1, int(hostLast)-int(hostFirst)+1
	if count > maxPorts {
		return bad("too many ports")
	}
	var all []Port
	for i := range count {
		p := Port{Protocol: protocol, Container: first + uint16(i), Address: address}
		switch {
		case hostFirst == 0 && hostLast == 0:
		case hosts == count:
			p.Host = hostFirst + uint16(i)
		case count == 1:
			p.Host, p.HostEnd = hostFirst, hostLast
		default:
			return bad("the ranges differ in length")
		}
		all = append(all, p)
	}
	return all, nil
}

func parseRange(text string) (first, last uint16, ok bool) {
	a, b, isRange := strings.Cut(text, "-")
	first, ok = parsePort(a)
	if !isRange || !ok {
		return first, first, ok
	}
	last, ok = parsePort(b)
	return first, last, ok && first <= last && first > 0
}

func parsePort(text string) (uint16, bool) {
	n, err := strconv.ParseUint(text, 10, 16) // which takes no sign
	return uint16(n), err == nil
}
