package network

import (
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A table is what one of the two tables consists of.
type table struct {
	table  *nftables.Table
	sets   []setSpec
	chains []chainSpec
}

type setSpec struct {
	name      string
	key, data []nftables.SetDatatype
	ranges    bool          // the keys are ranges
	timeout   time.Duration // elements go after it, or after one of their own
	dynamic   bool          // rules add elements
}

// learned tells whether the elements are nobody's document's, and go by themselves.
func (s *setSpec) learned() bool { return s.timeout != 0 }

type chainSpec struct {
	name     string
	kind     nftables.ChainType // empty: it is jumped to
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
	rules    [][]expr.Any
}

func (c *chainSpec) chain(t *nftables.Table) *nftables.Chain {
	chain := &nftables.Chain{Name: c.name, Table: t}
	if c.kind != "" {
		policy := nftables.ChainPolicyAccept
		chain.Type, chain.Hooknum, chain.Priority, chain.Policy = c.kind, c.hook, &c.priority, &policy
	}
	return chain
}

// Datatypes as nft lists them.
var (
	typeIfname = nftables.TypeIFName
	inetSets   = append([]setSpec{
		{name: "bridges", key: []nftables.SetDatatype{typeIfname}},
		{name: "internal", key: []nftables.SetDatatype{typeIfname}},
		{name: "leaves", key: []nftables.SetDatatype{typeIfname}},
		{name: "guarded", key: []nftables.SetDatatype{typeIfname}},
		{name: "nat4", key: []nftables.SetDatatype{typeIfname}},
		{name: "nat6", key: []nftables.SetDatatype{typeIfname}},
		{name: "same", key: []nftables.SetDatatype{typeIfname, typeIfname}},
		{name: "self4", key: []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeIPAddr}},
		{name: "self6", key: []nftables.SetDatatype{nftables.TypeIP6Addr, nftables.TypeIP6Addr}},
		{
			name: "ports4", key: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService},
			data: []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeInetService},
		},
		{
			name: "ports6", key: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService},
			data: []nftables.SetDatatype{nftables.TypeIP6Addr, nftables.TypeInetService},
		},
		{
			name: "addrports4", key: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeIPAddr, nftables.TypeInetService},
			data: []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeInetService},
		},
		{
			name: "addrports6", key: []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeIP6Addr, nftables.TypeInetService},
			data: []nftables.SetDatatype{nftables.TypeIP6Addr, nftables.TypeInetService},
		},
	}, egressSets()...)
	bridgeSets = []setSpec{
		{name: "pinned", key: []nftables.SetDatatype{typeIfname}},
		{name: "macs", key: []nftables.SetDatatype{typeIfname, nftables.TypeEtherAddr}},
		{name: "addrs4", key: []nftables.SetDatatype{typeIfname, nftables.TypeEtherAddr, nftables.TypeIPAddr}},
		{name: "addrs6", key: []nftables.SetDatatype{typeIfname, nftables.TypeIP6Addr}},
		{name: "leafports", key: []nftables.SetDatatype{typeIfname}},
		{name: "leafaddrs4", key: []nftables.SetDatatype{typeIfname, nftables.TypeEtherAddr, nftables.TypeIPAddr}},
	}
)

// set returns the set or map of that name.
func (r *rules) set(name string) *nftables.Set {
	for _, t := range []struct {
		family nftables.TableFamily
		sets   []setSpec
	}{{nftables.TableFamilyINet, inetSets}, {nftables.TableFamilyBridge, bridgeSets}} {
		for _, s := range t.sets {
			if s.name != name {
				continue
			}
			set := &nftables.Set{
				Table: &nftables.Table{Name: r.name, Family: t.family}, Name: name, KeyType: concat(s.key),
				Concatenation: len(s.key) > 1, KeyByteOrder: binaryutil.BigEndian,
			}
			if s.key[0].Name == typeIfname.Name {
				set.KeyByteOrder = binaryutil.NativeEndian
			}
			set.Interval, set.HasTimeout, set.Timeout, set.Dynamic = s.ranges, s.timeout != 0, s.timeout, s.dynamic
			if s.learned() {
				set.Size = maxLearned
			}
			if s.data != nil {
				set.IsMap, set.DataType = true, concat(s.data)
			}
			return set
		}
	}
	return nil
}

func concat(types []nftables.SetDatatype) nftables.SetDatatype {
	if len(types) == 1 {
		return types[0]
	}
	return nftables.MustConcatSetType(types...)
}

// Bytes of elements. Every part of a concatenation takes a multiple of four.

func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b[:unix.IFNAMSIZ-1], name)
	return b
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
		for len(all)%4 != 0 {
			all = append(all, 0)
		}
	}
	return all
}

func port16(p uint16) []byte { return []byte{byte(p >> 8), byte(p)} }

// protocols are the numbers of the protocols that can be published.
var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}

// networkElements are a network's own.
func networkElements(n *Network) []element {
	name := ifname(n.Interface)
	all := []element{{set: "bridges", key: name}, {set: "same", key: join(name, name)}}
	if n.Internal {
		return append(all, element{set: "internal", key: name})
	}
	if n.NoMasquerade {
		return all
	}
	for _, s := range n.Subnets {
		set := "nat4"
		if s.Prefix.Addr().Is6() {
			set = "nat6"
		}
		all = append(all, element{set: set, key: name})
	}
	return all
}

// endpointElements are an endpoint's: what its port of the bridge may send, and its published ports.
func endpointElements(e *Endpoint) []element {
	if e.HostInterface == "" {
		return nil
	}
	name, mac := ifname(e.HostInterface), e.mac()
	all := []element{{set: "pinned", key: name}, {set: "macs", key: join(name, mac)}}
	addrs4 := "addrs4"
	if e.Leaf != 0 {
		all, addrs4 = append(all, element{set: "leafports", key: name}), "leafaddrs4"
	}
	if a := e.IPv4.Addr(); a.IsValid() {
		all = append(all, element{set: addrs4, key: join(name, mac, a.AsSlice())})
	}
	if a := e.IPv6.Addr(); a.IsValid() {
		all = append(all, element{set: "addrs6", key: join(name, a.AsSlice())},
			element{set: "addrs6", key: join(name, linkLocal(mac).AsSlice())})
	}
	for _, p := range e.Ports {
		all = append(all, portElements(e, p)...)
	}
	if len(e.Ports) > 0 {
		for set, p := range map[string]netip.Prefix{"self4": e.IPv4, "self6": e.IPv6} {
			if p.IsValid() {
				all = append(all, element{set: set, key: join(p.Addr().AsSlice(), p.Addr().AsSlice())})
			}
		}
	}
	return append(all, egressElements(e)...)
}

func portElements(e *Endpoint, p Port) []element {
	var all []element
	proto := []byte{protocols[p.Protocol]}
	for _, to := range []struct {
		addr   netip.Addr
		suffix string
	}{{e.IPv4.Addr(), "4"}, {e.IPv6.Addr(), "6"}} {
		if !to.addr.IsValid() || p.Address.IsValid() && p.Address.Is6() != to.addr.Is6() || p.Address.IsLoopback() {
			continue // what comes by loopback, or in another family, is the socket's
		}
		val := join(to.addr.AsSlice(), port16(p.Container))
		if !p.Address.IsValid() || p.Address.IsUnspecified() {
			all = append(all, element{set: "ports" + to.suffix, key: join(proto, port16(p.Host)), val: val})
			continue
		}
		all = append(all, element{
			set: "addrports" + to.suffix, key: join(proto, p.Address.AsSlice(), port16(p.Host)), val: val,
		})
	}
	return all
}
