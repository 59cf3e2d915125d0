package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tables returns what the store's tables consist of. testdata/empty.nft has it as nft lists it.
func (r *rules) tables() []table {
	inet := &nftables.Table{Name: r.name, Family: nftables.TableFamilyINet}
	bridge := &nftables.Table{Name: r.name, Family: nftables.TableFamilyBridge}
	return []table{
		{inet, inetSets, r.inetChains()},
		{bridge, bridgeSets, r.bridgeChains()},
	}
}

// dstnatOut is the priority of output's translation, for which nft has no name of its own.
const dstnatOut = nftables.ChainPriority(-100)

func (r *rules) inetChains() []chainSpec {
	in := func(set string) []expr.Any { return r.lookup(set, field{meta: expr.MetaKeyIIFNAME}) }
	out := func(set string) []expr.Any { return r.lookup(set, field{meta: expr.MetaKeyOIFNAME}) }
	same := r.lookup("same", field{meta: expr.MetaKeyIIFNAME}, field{meta: expr.MetaKeyOIFNAME})
	accept, drop, back := verdict(expr.VerdictAccept, ""), verdict(expr.VerdictDrop, ""), verdict(expr.VerdictReturn, "")
	jump := func(chain string) []expr.Any { return verdict(expr.VerdictJump, chain) }
	known := ctMask(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	translated := ctMask(expr.CtKeySTATUS, 1<<5) // IPS_DST_NAT
	masquerade := []expr.Any{&expr.Masq{}}
	local := []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
	l4 := field{meta: expr.MetaKeyL4PROTO}
	return append(r.egressChains(), []chainSpec{
		// The ports that are published, first those on one address of the host. What is sent to a loopback address, by the
		// host itself or by a neighbour who has no business to, is left to the sockets.
		{name: "publish", rules: [][]expr.Any{
			rule(family(unix.NFPROTO_IPV4), daddr4.prefix(netip.MustParsePrefix("127.0.0.0/8")), back),
			rule(family(unix.NFPROTO_IPV6), daddr6.equals(netip.IPv6Loopback().AsSlice()), back),
			rule(family(unix.NFPROTO_IPV4), r.dnat("addrports4", unix.NFPROTO_IPV4, l4, daddr4, dport)),
			rule(family(unix.NFPROTO_IPV4), r.dnat("ports4", unix.NFPROTO_IPV4, l4, dport)),
			rule(family(unix.NFPROTO_IPV6), r.dnat("addrports6", unix.NFPROTO_IPV6, l4, daddr6, dport)),
			rule(family(unix.NFPROTO_IPV6), r.dnat("ports6", unix.NFPROTO_IPV6, l4, dport)),
		}},
		{
			name: "prerouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting,
			priority: *nftables.ChainPriorityNATDest,
			rules:    [][]expr.Any{rule(local, jump("publish"))},
		},
		// An association of the host with itself is by several of its addresses at once, so none of them is translated.
		{
			name: "output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, priority: dstnatOut,
			rules: [][]expr.Any{
				rule(meta(expr.MetaKeyL4PROTO, unix.IPPROTO_SCTP), back),
				rule(local, jump("publish")),
			},
		},
		// A published port that is reached from its own network answers by way of the host; the world sees the host's address.
		// Where the host has bridged frames filtered, only what comes back to its own sender takes that way.
		{
			name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting,
			priority: *nftables.ChainPriorityNATSource,
			rules: [][]expr.Any{
				rule(same, translated, masquerade),
				rule(family(unix.NFPROTO_IPV4), r.lookup("self4", saddr4, daddr4), translated, masquerade),
				rule(family(unix.NFPROTO_IPV6), r.lookup("self6", saddr6, daddr6), translated, masquerade),
				rule(out("bridges"), back),
				rule(family(unix.NFPROTO_IPV4), in("nat4"), masquerade),
				rule(family(unix.NFPROTO_IPV6), in("nat6"), masquerade),
			},
		},
		{
			name: "forward", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward,
			priority: *nftables.ChainPriorityFilter,
			rules: [][]expr.Any{
				rule(known, accept),
				rule(same, accept), // within a bridge, where the host has bridged frames filtered
				rule(in("leaves"), drop),
				rule(in("internal"), drop),
				rule(family(unix.NFPROTO_IPV4), r.lookup("limited4", saddr4), jump("egress4")),
				rule(family(unix.NFPROTO_IPV6), r.lookup("limited6", saddr6), jump("egress6")),
				rule(out("bridges"), jump("inwards")),
				rule(in("guarded"), out("guarded"), drop),
			},
		},
		{name: "inwards", rules: [][]expr.Any{
			rule(out("internal"), drop),
			rule(translated, accept),
			rule(drop),
		}},
		{
			name: "input", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookInput,
			priority: *nftables.ChainPriorityFilter,
			rules: [][]expr.Any{
				rule(in("leaves"), drop),
				rule(in("internal"), jump("internal")),
				rule(family(unix.NFPROTO_IPV4), r.lookup("limited4", saddr4), jump("hostward4")),
				rule(family(unix.NFPROTO_IPV6), r.lookup("limited6", saddr6), jump("hostward6")),
			},
		},
		// From an internal network to the host: answers, and what finds neighbours.
		{name: "internal", rules: [][]expr.Any{
			rule(known, accept),
			rule(icmp6(typeNS), accept),
			rule(icmp6(typeNA), accept),
			rule(drop),
		}},
	}...)
}

// Types of ICMPv6.
const (
	typeRA       = 134
	typeNS       = 135
	typeNA       = 136
	typeRedirect = 137
)

func (r *rules) bridgeChains() []chainSpec {
	accept, drop := verdict(expr.VerdictAccept, ""), verdict(expr.VerdictDrop, "")
	jump := func(chain string) []expr.Any { return verdict(expr.VerdictJump, chain) }
	port := field{meta: expr.MetaKeyIIFNAME}
	source := field{base: expr.PayloadBaseLLHeader, offset: 6, size: 6}
	arpMAC := field{base: expr.PayloadBaseNetworkHeader, offset: 8, size: 6}
	arpIP := field{base: expr.PayloadBaseNetworkHeader, offset: 14, size: 4}
	target := field{base: expr.PayloadBaseTransportHeader, offset: 8, size: 16}
	none4, none6 := make([]byte, 4), make([]byte, 16)
	return []chainSpec{
		{
			name: "prerouting", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: -200,
			rules: [][]expr.Any{
				rule(protocol(unix.ETH_P_IP), r.lookup("addrs4", port, source, saddr4), accept), // most of all that comes
				// Where the host has bridged frames filtered, those on a leaf are left to the network's bridge.
				rule(r.lookup("leafports", port), []expr.Any{&expr.Notrack{}}),
				rule(r.lookup("pinned", port), jump("pins")),
			},
		},
		{name: "pins", rules: [][]expr.Any{
			rule(invert(r.lookup("macs", port, source)), drop),
			rule(protocol(unix.ETH_P_IP), r.lookup("leafaddrs4", port, source, saddr4), accept),
			rule(protocol(unix.ETH_P_IPV6), jump("pins6")),
			rule(protocol(unix.ETH_P_ARP), jump("pinsarp")),
			rule(drop),
		}},
		{name: "pins6", rules: [][]expr.Any{
			rule(icmp6(typeRA), drop),
			rule(icmp6(typeRedirect), drop),
			rule(icmp6(typeNA), invert(r.lookup("addrs6", port, target)), drop),
			rule(r.lookup("addrs6", port, saddr6), accept),
			rule(saddr6.equals(none6), meta(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMPV6), accept), // looking for duplicates
			rule(drop),
		}},
		{name: "pinsarp", rules: [][]expr.Any{
			rule(r.lookup("addrs4", port, arpMAC, arpIP), accept),
			rule(r.lookup("leafaddrs4", port, arpMAC, arpIP), accept),
			rule(arpIP.equals(none4), r.lookup("macs", port, arpMAC), accept), // looking for duplicates
			rule(drop),
		}},
	}
}

// A field is a part of a packet, or of what the kernel knows of it.
type field struct {
	meta         expr.MetaKey
	base         expr.PayloadBase
	offset, size uint32 // size 0: meta
}

var (
	saddr4 = field{base: expr.PayloadBaseNetworkHeader, offset: 12, size: 4}
	saddr6 = field{base: expr.PayloadBaseNetworkHeader, offset: 8, size: 16}
	daddr4 = field{base: expr.PayloadBaseNetworkHeader, offset: 16, size: 4}
	daddr6 = field{base: expr.PayloadBaseNetworkHeader, offset: 24, size: 16}
	dport  = field{base: expr.PayloadBaseTransportHeader, offset: 2, size: 2}
)

// load puts the field into a register and returns the number of registers of 32 bits that it takes.
func (f field) load(register uint32) (expr.Any, uint32) {
	if f.size > 0 {
		return &expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: f.size}, (f.size + 3) / 4
	}
	size := uint32(1)
	if f.meta == expr.MetaKeyIIFNAME || f.meta == expr.MetaKeyOIFNAME {
		size = unix.IFNAMSIZ / 4
	}
	return &expr.Meta{Key: f.meta, Register: register}, size
}

func (f field) equals(data []byte) []expr.Any {
	load, _ := f.load(1)
	return []expr.Any{load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}

// prefix compares with a prefix of whole bytes.
func (f field) prefix(p netip.Prefix) []expr.Any {
	f.size = uint32(p.Bits() / 8)
	return f.equals(p.Addr().AsSlice()[:f.size])
}

// firstRegister is the first of the registers of 32 bits.
const firstRegister = unix.NFT_REG32_00

func (r *rules) lookup(set string, fields ...field) []expr.Any {
	all, _ := loads(fields)
	return append(all, &expr.Lookup{SourceRegister: firstRegister, SetName: set, SetID: r.set(set).ID})
}

func loads(fields []field) (all []expr.Any, next uint32) {
	next = firstRegister
	for _, f := range fields {
		load, size := f.load(next)
		all = append(all, load)
		next += size
	}
	return all, next
}

// dnat translates to what a map has for the fields: an address and a port.
func (r *rules) dnat(set string, family uint32, fields ...field) []expr.Any {
	all, _ := loads(fields)
	words := uint32(1)
	if family == unix.NFPROTO_IPV6 {
		words = 4
	}
	return append(all,
		&expr.Lookup{SourceRegister: firstRegister, DestRegister: firstRegister, IsDestRegSet: true, SetName: set},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: firstRegister, RegProtoMin: firstRegister + words,
			Specified: true,
		})
}

func invert(lookup []expr.Any) []expr.Any {
	lookup[len(lookup)-1].(*expr.Lookup).Invert = true
	return lookup
}

func rule(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

func meta(key expr.MetaKey, value byte) []expr.Any { return field{meta: key}.equals([]byte{value}) }

func family(f byte) []expr.Any { return meta(expr.MetaKeyNFPROTO, f) }

func protocol(p uint16) []expr.Any {
	return field{meta: expr.MetaKeyPROTOCOL}.equals(port16(p))
}

func icmp6(kind byte) []expr.Any {
	return rule(meta(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMPV6),
		field{base: expr.PayloadBaseTransportHeader, offset: 0, size: 1}.equals([]byte{kind}))
}

func ctMask(key expr.CtKey, mask uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: key},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}
