package seccomp

import (
	"encoding/binary"
	"math"
	"slices"
)

// A leaf is what the filter does for a syscall: the first rule that matches, or the verdict otherwise.
type leaf struct {
	rules     []rule
	otherwise verdict
	pair      *[2]*leaf // or what x86_64 and x32 have there
}

// A span is the syscall numbers from start to the next span's start, with one leaf.
type span struct {
	start uint32
	leaf  *leaf
}

// A namedCall is a rule of the profile as one ABI has it: the number that it is about, the index of the rule, and in the lowest
// bit whether the number is that of socketcall or ipc. So they sort by number, and of each in the order of the rules.
type namedCall uint64

func newNamedCall(number uint32, rule int, muxed bool) namedCall {
	c := namedCall(number)<<32 | namedCall(rule)<<1
	if muxed {
		c |= 1
	}
	return c
}

func (c namedCall) number() uint32 { return uint32(c >> 32) }
func (c namedCall) rule() int      { return int(uint32(c) >> 1) }
func (c namedCall) muxed() bool    { return c&1 != 0 }

// calls returns what the profile says of one ABI's numbers, sorted.
func (r *rules) calls(which abi) []namedCall {
	list := make([]namedCall, 0, len(r.list))
	for i := range r.list {
		row := r.list[i].row
		if which == abiI386 {
			if m, ok := i386Mux()[row.name]; ok {
				list = append(list, newNamedCall(m.number, i, true))
			}
		}
		if n := row.numbers[which]; n >= 0 {
			list = append(list, newNamedCall(uint32(n), i, false))
		}
	}
	slices.Sort(list)
	return list
}

// leafOf returns the leaf of the calls, which are all of one number; nil if no rule can match.
func (a *assembler) leafOf(r *rules, which abi, calls []namedCall) *leaf {
	l := leaf{otherwise: r.otherwise}
	any := false
	for _, c := range calls {
		nr := &r.list[c.rule()]
		if !c.muxed() && len(nr.conditions) == 0 { // it counts before all that have conditions
			l.rules, l.otherwise, any = nil, nr.verdict, true
			break
		}
		rl, ok := rule{}, false
		if c.muxed() {
			rl, ok = nr.viaMux(i386Mux()[nr.row.name])
		} else {
			rl, ok = nr.forABI(which)
		}
		if ok {
			l.rules, any = append(l.rules, rl), true
		}
	}
	if !any {
		return nil
	}
	return a.intern(&l)
}

// spans returns one ABI's numbers, sorted, from 0 (x32's: from its bit) to the end of 32 bits.
func (a *assembler) spans(r *rules, which abi) []span {
	fallback := a.intern(&leaf{otherwise: r.otherwise})
	calls := r.calls(which)
	s := spanList{marks: r.marks(a, which, fallback), fallback: fallback, list: make([]span, 0, 2*len(calls)+3)}
	for len(calls) > 0 {
		n := 1
		for n < len(calls) && calls[n].number() == calls[0].number() {
			n++
		}
		if l := a.leafOf(r, which, calls[:n]); l != nil {
			s.add(calls[0].number(), l)
		}
		calls = calls[n:]
	}
	s.upTo(math.MaxUint64)
	return s.list
}

// marks are where the numbers begin that no rule names: at the first, above the newest that the profile knows, and at arm's
// private ones. They are sorted.
func (r *rules) marks(a *assembler, which abi, fallback *leaf) []span {
	first := uint32(0)
	if which == abiX32 {
		first = x32Bit
	}
	beyond, end := fallback, first // end is the first number that is newer than the profile
	if newest := r.newest[which]; newest >= 0 {
		end = uint32(newest) + 1
		if !r.otherwise.passes() {
			beyond = a.intern(&leaf{otherwise: retErrno | enosys})
		}
	}
	marks := make([]span, 0, 3)
	if end != first {
		marks = append(marks, span{first, fallback})
	}
	marks = append(marks, span{end, beyond})
	if which == abiARM {
		marks = append(marks, span{armPrivate, fallback}) // it lies above all that count for end
	}
	return marks
}

// A spanList puts spans together: the named numbers, one after the other, the marks, and behind each named number, if there is
// neither, the fallback.
type spanList struct {
	list     []span
	marks    []span
	fallback *leaf
	behind   uint64 // the number behind the last named one, if that is not 0
}

// add adds a named number.
func (s *spanList) add(n uint32, l *leaf) {
	s.upTo(uint64(n))
	s.list = append(s.list, span{n, l})
	s.behind = uint64(n) + 1
	if len(s.marks) > 0 && s.marks[0].start == n { // what is named counts
		s.marks = s.marks[1:]
	}
}

// upTo adds what begins before the limit.
func (s *spanList) upTo(limit uint64) {
	behind := func() {
		if s.behind != 0 && s.behind < limit {
			s.list = append(s.list, span{uint32(s.behind), s.fallback})
		}
		s.behind = 0
	}
	for len(s.marks) > 0 && uint64(s.marks[0].start) < limit {
		switch start := uint64(s.marks[0].start); {
		case start == s.behind:
			s.behind = 0
		case start > s.behind:
			behind()
		}
		s.list = append(s.list, s.marks[0])
		s.marks = s.marks[1:]
	}
	behind()
}

// merge takes out spans that continue their neighbour.
func merge(spans []span) []span {
	return slices.CompactFunc(spans, func(x, y span) bool { return x.leaf == y.leaf })
}

// tree writes a balanced search for the accumulator's span.
func (a *assembler) tree(spans []span) label {
	if len(spans) == 1 {
		return a.leaf(spans[0].leaf)
	}
	middle := len(spans) / 2
	upper := a.tree(spans[middle:])
	lower := a.tree(spans[:middle])
	return a.branch(opJumpAtLeast, spans[middle].start, upper, lower)
}

// leaf writes a leaf, or finds it written.
func (a *assembler) leaf(l *leaf) label {
	if len(l.rules) == 0 && l.pair == nil {
		return a.ret(l.otherwise)
	}
	if at, ok := a.leaves[l]; ok {
		return at
	}
	if a.leaves == nil {
		a.leaves = map[*leaf]label{}
	}
	if l.pair != nil {
		x32, other := a.leaf(l.pair[1]), a.leaf(l.pair[0])
		a.leaves[l] = a.load(offsetNumber, a.branch(opJumpAtLeast, x32Bit, x32, other))
	} else {
		a.leaves[l] = a.rules(l.rules, l.otherwise)
	}
	return a.leaves[l]
}

// intern returns the leaf that is equal to l, the same pointer for all of them.
func (a *assembler) intern(l *leaf) *leaf {
	l.prune()
	if len(l.rules) == 0 { // as most are
		i := slices.IndexFunc(a.plain, func(p *leaf) bool { return p.otherwise == l.otherwise })
		if i < 0 {
			i = len(a.plain)
			a.plain = append(a.plain, &leaf{otherwise: l.otherwise})
		}
		return a.plain[i]
	}
	key := a.key[:0]
	number := func(v uint64) { key = binary.LittleEndian.AppendUint64(key, v) }
	number(uint64(l.otherwise))
	for _, r := range l.rules {
		number(uint64(r.verdict))
		number(uint64(len(r.conditions)))
		for _, c := range r.conditions {
			key = append(key, c.arg)
			if c.not {
				key = append(key, '!')
			}
			if c.narrow {
				key = append(key, '<')
			}
			key = append(key, c.op...)
			number(c.value)
			number(c.mask)
		}
	}
	a.key = key
	if known, ok := a.interned[string(key)]; ok {
		return known
	}
	kept := *l
	a.interned[string(key)] = &kept
	return &kept
}

// prune takes out rules that decide nothing: those after one that always matches, and the last ones if they say what
// is said otherwise.
func (l *leaf) prune() {
	for i, r := range l.rules {
		if len(r.conditions) == 0 {
			l.otherwise, l.rules = r.verdict, l.rules[:i]
			break
		}
	}
	for n := len(l.rules); n > 0 && l.rules[n-1].verdict == l.otherwise; n-- {
		l.rules = l.rules[:n-1]
	}
}
