package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An Egress is an allow-list: what a sandbox may connect to. What no rule allows is dropped, and recorded where somebody asked
// for it ([SandboxOptions].Audit). A sandbox that has one, or is on a network that has one, asks no resolver but its own at
// 127.0.0.11, and that one only for names that a rule has and for those of the sandbox's networks.
//
// It bounds what leaves a network: the world, other networks, published ports, and the host itself, whose
// addresses only a rule for the single address opens. Neighbours on the same network are reached as before;
// CreateOptions.Isolated keeps them apart. Connections from outside are answered.
type Egress struct {
	// Allow are the rules, at most 256. Without any, nothing is allowed.
	Allow []EgressRule `json:"allow"`
}

// An EgressRule allows connections to addresses, on all ports or on some. [ParseEgress] reads it from a line.
type EgressRule struct {
	// Name is that of a host, "example.org", or with all below it and without itself, "*.example.org". Its addresses are those
	// that the sandbox's resolver got, for as long as it was told: from ten seconds to a day.
	Name string `json:"name,omitempty"`
	// Prefix is the addresses. With Name, it is what the name's addresses must be in. A name without it opens addresses of the
	// Internet at large alone, no private one, whatever the name's owner answers.
	Prefix netip.Prefix `json:"prefix,omitzero"`
	// Protocol is "tcp", "udp", "sctp" or "icmp", which is ICMPv6 too. Empty means all, and with a port tcp and udp.
	Protocol string `json:"protocol,omitempty"`
	// Port and PortEnd are the first and the last port. Zero means all, and PortEnd alone that there is one. With Name
	// there are at most 64.
	Port    uint16 `json:"port,omitempty"`
	PortEnd uint16 `json:"portEnd,omitempty"`
}

const (
	maxRules     = 256
	maxNamePorts = 64
)

// String returns the rule as ParseEgress reads it.
func (r EgressRule) String() string {
	var b strings.Builder
	b.WriteString(r.Name)
	if r.Prefix.IsValid() {
		text := r.Prefix.String()
		if r.Prefix.IsSingleIP() {
			text = r.Prefix.Addr().String()
		}
		if r.Prefix.Addr().Is6() {
			text = "[" + text + "]"
		}
		if r.Name != "" {
			b.WriteByte('=')
		}
		b.WriteString(text)
	}
	if r.Port != 0 {
		fmt.Fprintf(&b, ":%d", r.Port)
		if r.PortEnd > r.Port {
			fmt.Fprintf(&b, "-%d", r.PortEnd)
		}
	}
	if r.Protocol != "" {
		b.WriteString("/" + r.Protocol)
	}
	return b.String()
}

// ParseEgress reads a rule: name, address or prefix, or name=prefix, then [:port[-port]][/protocol]. An address of IPv6 that a port
// follows is in brackets.
//
//	pypi.org:443
//	*.example.org:80-90/tcp
//	10.0.0.0/8
//	[2001:db8::/32]:443
//	git.example.org=10.1.0.0/16:22
func ParseEgress(text string) (EgressRule, error) {
	var r EgressRule
	bad := func(why string) (EgressRule, error) {
		return EgressRule{}, invalid("Egress", "%q: %s", text, why)
	}
	rest := text
	for _, p := range []string{"tcp", "udp", "sctp", "icmp"} {
		if s, ok := strings.CutSuffix(rest, "/"+p); ok {
			rest, r.Protocol = s, p
		}
	}
	name, of, both := strings.Cut(rest, "=")
	if both {
		r.Name, rest = name, of
	}
	where, ports := rest, ""
	if in, ok := strings.CutPrefix(rest, "["); ok {
		end := strings.IndexByte(in, ']')
		if end < 0 {
			return bad("a bracket is open")
		}
		where = in[:end]
		if after := in[end+1:]; after != "" {
			if ports, ok = strings.CutPrefix(after, ":"); !ok {
				return bad("what follows the bracket is no port")
			}
		}
	} else if i := strings.LastIndexByte(rest, ':'); i >= 0 && strings.Count(rest, ":") == 1 {
		where, ports = rest[:i], rest[i+1:]
		if ports == "" {
			return bad("the port is empty")
		}
	}
	if ports != "" {
		var ok bool
		if r.Port, r.PortEnd, ok = parseRange(ports); !ok || r.Port == 0 {
			return bad("the port is not from 1 to 65535")
		}
	}
	switch p, err := netip.ParsePrefix(where); {
	case err == nil:
		r.Prefix = p
	default:
		if a, err := netip.ParseAddr(where); err == nil && a.Zone() == "" {
			r.Prefix = netip.PrefixFrom(a, a.BitLen())
		} else if both {
			return bad("what follows = is no address or prefix")
		} else {
			r.Name = where
		}
	}
	r.Name = strings.TrimSuffix(strings.ToLower(r.Name), ".")
	if both && r.Name == "" {
		return bad("the name is empty")
	}
	return r, r.check()
}

func (r EgressRule) check() error {
	bad := func(why string) error { return invalid("Egress", "%q: %s", r.String(), why) }
	if r.Name == "" && !r.Prefix.IsValid() {
		return bad("neither a name nor a prefix")
	}
	if name := strings.TrimPrefix(r.Name, "*."); r.Name != "" && (!hostName(name) || r.Name != strings.ToLower(r.Name)) {
		return bad("it is no host's name in small letters, with at most a *. before it")
	}
	if p := r.Prefix; p.IsValid() && (p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "") {
		return bad("it is no prefix")
	}
	if !slices.Contains([]string{"", "tcp", "udp", "sctp", "icmp"}, r.Protocol) {
		return bad("the protocol is none of tcp, udp, sctp, icmp")
	}
	if r.Port == 0 && r.PortEnd != 0 || r.PortEnd != 0 && r.PortEnd < r.Port {
		return bad("the ports are no range")
	}
	if r.Port != 0 && r.Protocol == "icmp" {
		return bad("icmp has no ports")
	}
	if r.Name != "" {
		if n := int(cmp.Or(r.PortEnd, r.Port)) - int(r.Port) + 1; r.Port != 0 && n > maxNamePorts {
			return bad(fmt.Sprintf("%d ports are more than a name's %d", n, maxNamePorts))
		}
		if r.Port == 0 && r.Protocol != "" {
			return bad("a name's protocol needs a port")
		}
	}
	return nil
}

func hostName(name string) bool {
	if name == "" || len(name) > maxHostName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
		}) {
			return false
		}
	}
	return true
}

func (e *Egress) check() error {
	if e == nil {
		return nil
	}
	if len(e.Allow) > maxRules {
		return invalid("Egress", "%d rules are more than %d", len(e.Allow), maxRules)
	}
	for _, r := range e.Allow {
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

// An Attempt is something that a sandbox with an [Egress] tried.
type Attempt struct {
	Time    time.Time `json:"time"`
	Sandbox string    `json:"sandbox"`
	Network string    `json:"network,omitempty"`
	Allowed bool      `json:"allowed"`
	// Protocol is "dns" for a question to the resolver, for Name; else it is "tcp", "udp", "sctp", "icmp" or a number, and what
	// was tried is a connection to Address, and to Port where the protocol has some. One that was tried again within a
	// second may be there once.
	Protocol string     `json:"protocol"`
	Name     string     `json:"name,omitempty"`
	Address  netip.Addr `json:"address,omitzero"`
	Port     uint16     `json:"port,omitempty"`
}

// Policies are allow-lists, all of which must allow what is tried. Without any, all is allowed.
type Policies []Egress

// AllowsName tells whether the name may be asked for.
func (p Policies) AllowsName(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for _, e := range p {
		if !slices.ContainsFunc(e.Allow, func(r EgressRule) bool { return r.matches(name) }) {
			return false
		}
	}
	return true
}

// Allows tells whether an address may be connected to, by a protocol's number and a port, as one that names stand for if there are
// some.
func (p Policies) Allows(a netip.Addr, protocol uint8, port uint16, names ...string) bool {
	for _, e := range p {
		ok := slices.ContainsFunc(e.Allow, func(r EgressRule) bool {
			if !r.opens(a, names) {
				return false
			}
			return slices.ContainsFunc(r.boxes(a.Is6()), func(b box) bool {
				return b.first <= protocol && protocol <= b.last && b.port <= port && port <= b.portEnd
			})
		})
		if !ok {
			return false
		}
	}
	return true
}

// matches tells whether the rule has the name, which is in small letters.
func (r EgressRule) matches(name string) bool {
	if below, ok := strings.CutPrefix(r.Name, "*"); ok {
		return strings.HasSuffix(name, below) && len(name) > len(below)
	}
	return r.Name != "" && r.Name == name
}

// opens tells whether the rule has the address, of itself or since one of the names stands for it.
func (r EgressRule) opens(a netip.Addr, names []string) bool {
	if r.Prefix.IsValid() && !r.Prefix.Contains(a) {
		return false
	}
	if r.Name == "" {
		return true
	}
	return slices.ContainsFunc(names, r.matches) && (r.Prefix.IsValid() || public(a))
}

// notPublic are ranges that are nobody's on the Internet at large, besides those that netip.Addr knows.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("fec0::/10"),
}

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.Is4In6() &&
		!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// A box is a range of protocols and of ports.
type box struct {
	first, last   uint8
	port, portEnd uint16
}

var whole = box{0, 255, 0, 65535}

// Numbers of protocols.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// boxes are the rule's, in one family.
func (r EgressRule) boxes(ipv6 bool) []box {
	b := whole
	if r.Port != 0 {
		b.port, b.portEnd = r.Port, cmp.Or(r.PortEnd, r.Port)
	}
	of := func(p uint8) box { return box{p, p, b.port, b.portEnd} }
	switch r.Protocol {
	case "tcp":
		return []box{of(protoTCP)}
	case "udp":
		return []box{of(protoUDP)}
	case "sctp":
		return []box{of(protoSCTP)}
	case "icmp":
		if ipv6 {
			return []box{of(protoICMPv6)}
		}
		return []box{of(protoICMP)}
	}
	if r.Port != 0 {
		return []box{of(protoTCP), of(protoUDP)}
	}
	return []box{b}
}

func (b box) intersect(o box) (box, bool) {
	c := box{max(b.first, o.first), min(b.last, o.last), max(b.port, o.port), min(b.portEnd, o.portEnd)}
	return c, c.first <= c.last && c.port <= c.portEnd
}
