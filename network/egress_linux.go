package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	maxLearned  = 1 << 16 // elements of a set that rules or the resolvers add to
	maxOpened   = 1024    // ports of a name's address, where the network's policy made ranges of them
	tryTimeout  = 5 * time.Minute
	minLearned  = 10 * time.Second
	grace       = 10 * time.Second // for a program that connects with what it was told a moment ago
	mostLearned = 24 * time.Hour
)

// families are the endings of names of sets and chains for IPv4 and IPv6.
var families = []struct {
	suffix       string
	ipv6         bool
	number       byte
	saddr, daddr field
	addr         nftables.SetDatatype
}{
	{"4", false, unix.NFPROTO_IPV4, saddr4, daddr4, nftables.TypeIPAddr},
	{"6", true, unix.NFPROTO_IPV6, saddr6, daddr6, nftables.TypeIP6Addr},
}

// egressSets are those of allow-lists. Sources under one are "limited"; what they may reach is in "egress", and in "learned…" by
// the names that they asked for; of the host's own addresses it is in "host". What they tried is in "passed" and "refused"
// until somebody reads it.
func egressSets() (all []setSpec) {
	for _, f := range families {
		tuple := []nftables.SetDatatype{f.addr, f.addr, nftables.TypeInetProto, nftables.TypeInetService}
		all = append(all,
			setSpec{name: "limited" + f.suffix, key: tuple[:1]},
			setSpec{name: "egress" + f.suffix, key: tuple, ranges: true},
			setSpec{name: "host" + f.suffix, key: tuple, ranges: true},
			setSpec{name: "learned" + f.suffix, key: tuple, timeout: mostLearned},
			setSpec{name: "learnedproto" + f.suffix, key: tuple[:3], timeout: mostLearned},
			setSpec{name: "learnedall" + f.suffix, key: tuple[:2], timeout: mostLearned},
			setSpec{name: "passed" + f.suffix, key: tuple, timeout: tryTimeout, dynamic: true},
			setSpec{name: "refused" + f.suffix, key: tuple, timeout: tryTimeout, dynamic: true},
			setSpec{name: "passedother" + f.suffix, key: tuple[:3], timeout: tryTimeout, dynamic: true},
			setSpec{name: "refusedother" + f.suffix, key: tuple[:3], timeout: tryTimeout, dynamic: true},
		)
	}
	return all
}

func (r *rules) egressChains() (all []chainSpec) {
	known := ctMask(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	accept, drop, back := verdict(expr.VerdictAccept, ""), verdict(expr.VerdictDrop, ""), verdict(expr.VerdictReturn, "")
	l4 := field{meta: expr.MetaKeyL4PROTO}
	for _, f := range families {
		fields := []field{f.saddr, f.daddr, l4, dport}
		passed := verdict(expr.VerdictGoto, "passed"+f.suffix)
		refuse := r.note("refused", f.suffix, f.saddr, f.daddr, drop)
		hostward := [][]expr.Any{rule(known, accept)}
		if f.ipv6 {
			hostward = append(hostward, rule(icmp6(typeNS), accept), rule(icmp6(typeNA), accept))
		}
		all = append(all,
			chainSpec{name: "passed" + f.suffix, rules: r.note("passed", f.suffix, f.saddr, f.daddr, back)},
			chainSpec{name: "egress" + f.suffix, rules: append([][]expr.Any{
				rule(r.lookup("egress"+f.suffix, fields...), passed),
				rule(r.lookup("learned"+f.suffix, fields...), passed),
				rule(r.lookup("learnedproto"+f.suffix, fields[:3]...), passed),
				rule(r.lookup("learnedall"+f.suffix, fields[:2]...), passed),
			}, refuse...)},
			chainSpec{name: "hostward" + f.suffix, rules: append(hostward,
				append([][]expr.Any{rule(r.lookup("host"+f.suffix, fields...), passed)}, refuse...)...,
			)},
		)
	}
	return all
}

// note has rules add what was tried to a set, source and destination as they are after translation, and end with a verdict. When
// the set is full nothing is noted.
func (r *rules) note(set, suffix string, saddr, daddr field, end []expr.Any) [][]expr.Any {
	l4 := field{meta: expr.MetaKeyL4PROTO}
	other := l4.load1()
	for _, p := range []byte{protoTCP, protoUDP, protoSCTP} {
		other = append(other, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{p}})
	}
	return [][]expr.Any{
		rule(other, r.add(set+"other"+suffix, saddr, daddr, l4), end),
		rule(r.add(set+suffix, saddr, daddr, l4, dport)),
		rule(end),
	}
}

func (f field) load1() []expr.Any {
	load, _ := f.load(1)
	return []expr.Any{load}
}

// add adds an element of the fields to a set.
func (r *rules) add(set string, fields ...field) []expr.Any {
	all, _ := loads(fields)
	return append(all, &expr.Dynset{SrcRegKey: firstRegister, SetName: set, Operation: uint32(unix.NFT_DYNSET_OP_ADD)})
}

func tuple(from, to netip.Addr, protocol uint8, port uint16) []byte {
	return join(from.AsSlice(), to.AsSlice(), []byte{protocol}, port16(port))
}

// egressElements are those of an endpoint's allow-lists.
func egressElements(e *Endpoint) (all []element) {
	if len(e.Egress) == 0 {
		return nil
	}
	for _, f := range families {
		a := e.IPv4.Addr()
		if f.ipv6 {
			a = e.IPv6.Addr()
		}
		if !a.IsValid() {
			continue
		}
		all = append(all, element{set: "limited" + f.suffix, key: a.AsSlice()})
		if f.ipv6 {
			all = append(all, element{set: "limited6", key: linkLocal(e.mac()).AsSlice()})
		}
		areas, err := e.Egress.areas(f.ipv6)
		if err != nil {
			continue // it was looked at before: nothing is allowed
		}
		for _, to := range areas {
			from := tuple(a, to.prefix.Addr(), to.box.first, to.box.port)
			end := tuple(a, lastAddr(to.prefix), to.box.last, to.box.portEnd)
			all = append(all, element{set: "egress" + f.suffix, key: from, end: end})
			if to.prefix.IsSingleIP() {
				all = append(all, element{set: "host" + f.suffix, key: from, end: end})
			}
		}
	}
	return all
}

// learn opens addresses that a name stands for to the endpoint, for as long as the answer holds.
func (r *rules) learn(e *Endpoint, name string, addrs []netip.Addr, ttl time.Duration) error {
	ttl = min(max(ttl, minLearned), mostLearned-grace) + grace
	var all []element
	add := func(set string, key []byte) { all = append(all, element{set: set, key: key, timeout: ttl}) }
	for _, a := range addrs {
		from, suffix := e.IPv4.Addr(), "4"
		if a.Is6() {
			from, suffix = e.IPv6.Addr(), "6"
		}
		if !from.IsValid() {
			continue
		}
		for _, b := range e.Egress.named(name, a) {
			switch full := b.portEnd-b.port == math.MaxUint16; {
			case full && b.first < b.last:
				add("learnedall"+suffix, join(from.AsSlice(), a.AsSlice()))
			case full:
				add("learnedproto"+suffix, join(from.AsSlice(), a.AsSlice(), []byte{b.first}))
			default:
				for port := int(b.port); port <= int(b.portEnd) && port < int(b.port)+maxOpened; port++ {
					add("learned"+suffix, tuple(from, a, b.first, uint16(port)))
				}
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	gone := make([]edit, len(all))
	for i, el := range all {
		gone[i] = edit{element: element{set: el.set, key: el.key}, remove: true}
	}
	// Adding what is there does not begin its time anew before Linux 6.12, and what is not there cannot be deleted.
	r.last = 0
	err := r.transact(func(c *nftables.Conn) error {
		return errors.Join(r.edit(c, additions(all)), r.edit(c, gone), r.edit(c, additions(all)))
	})
	if err != nil {
		return fmt.Errorf("change nftables: %w", err)
	}
	return nil
}

// unlearn removes what an endpoint's addresses have in the sets of names and of what was tried: they are another's soon.
func (r *rules) unlearn(e *Endpoint) error {
	for _, s := range inetSets {
		if !s.learned() {
			continue
		}
		a := e.IPv4.Addr()
		if s.key[0].Name == nftables.TypeIP6Addr.Name {
			a = e.IPv6.Addr()
		}
		if !a.IsValid() {
			continue
		}
		if _, err := r.take(s.name, a); err != nil {
			return err
		}
	}
	return nil
}

// take deletes the elements of a set that begin with the address, and returns their keys.
func (r *rules) take(name string, of netip.Addr) ([][]byte, error) {
	have, err := r.conn.GetSetElements(r.set(name))
	if err != nil {
		if whole, e := r.whole(); e == nil && !whole {
			return nil, nil // somebody flushed it
		}
		return nil, fmt.Errorf("list nftables set %s: %w", name, err)
	}
	var keys [][]byte
	var gone []element
	for _, el := range have {
		if a, ok := netip.AddrFromSlice(el.Key[:min(len(el.Key), of.BitLen()/8)]); ok && a == of {
			keys = append(keys, el.Key)
			gone = append(gone, element{set: name, key: el.Key})
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	return keys, r.remove(gone)
}

// readTuple is tuple's other way, with the port or without.
func readTuple(key []byte, size int) (to netip.Addr, protocol uint8, port uint16) {
	if len(key) < 2*size+4 {
		return
	}
	to, _ = netip.AddrFromSlice(key[size : 2*size])
	if len(key) >= 2*size+8 {
		port = binary.BigEndian.Uint16(key[2*size+4:])
	}
	return to, key[2*size], port
}
