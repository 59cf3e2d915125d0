package seccomp

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// A leaf is what the filter does for a syscall: the first rule that matches, or the verdict otherwise.
type leaf struct {
	rules     []rule
	otherwise verdict
}

// A span is the syscall numbers from start to the next span's start, with one leaf.
type span struct {
	start uint32
	leaf  *leaf
}

// spans returns one ABI's numbers, sorted, from 0 (x32's: from its bit) to the end of 32 bits.
func (a *assembler) spans(r *rules, which abi) []span {
	byNumber := map[uint32]*leaf{}
	final := map[uint32]bool{} // a rule without conditions was seen
	add := func(n uint32, rl rule, unconditional bool) {
		if final[n] {
			return
		}
		l := byNumber[n]
		if l == nil {
			l = &leaf{otherwise: r.otherwise}
			byNumber[n] = l
		}
		if unconditional {
			final[n] = true
			l.rules, l.otherwise = nil, rl.verdict
			return
		}
		l.rules = append(l.rules, rl)
	}
	for _, nr := range r.list {
		if m, ok := i386Mux[nr.row.name]; ok && which == abiI386 {
			if rl, ok := nr.viaMux(m); ok {
				add(m.number, rl, false)
			}
		}
		if n := nr.row.numbers[which]; n >= 0 {
			if rl, ok := nr.forABI(which); ok {
				add(uint32(n), rl, len(nr.conditions) == 0)
			}
		}
	}

	first, private := uint32(0), uint32(math.MaxUint32)
	switch which {
	case abiX32:
		first = x32Bit
	case abiARM:
		private = armPrivate
	}
	fallback := a.intern(&leaf{otherwise: r.otherwise})
	beyond, end := fallback, first // end is the first number that is newer than the profile
	if newest := r.newest[which]; newest >= 0 {
		end = uint32(newest) + 1
		if !r.otherwise.passes() {
			beyond = a.intern(&leaf{otherwise: retErrno | enosys})
		}
	}
	// The bounds are marked first, then the named numbers are put between them.
	rest := map[uint32]*leaf{first: fallback, end: beyond}
	if private != math.MaxUint32 {
		rest[private] = fallback
	}
	for n := range byNumber {
		if _, marked := rest[n+1]; !marked {
			rest[n+1] = fallback // none is at or above end, but arm's private ones
		}
	}
	var spans []span
	for n, l := range rest {
		if byNumber[n] == nil {
			spans = append(spans, span{n, l})
		}
	}
	for n, l := range byNumber {
		spans = append(spans, span{n, a.intern(l)})
	}
	slices.SortFunc(spans, func(x, y span) int { return cmp.Compare(x.start, y.start) })
	return spans
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
	if len(l.rules) == 0 {
		return a.ret(l.otherwise)
	}
	if at, ok := a.leaves[l]; ok {
		return at
	}
	if a.leaves == nil {
		a.leaves = map[*leaf]label{}
	}
	a.leaves[l] = a.rules(l.rules, l.otherwise)
	return a.leaves[l]
}

// intern returns the leaf that is equal to l, the same pointer for all of them.
func (a *assembler) intern(l *leaf) *leaf {
	l.prune()
	var key strings.Builder
	number := func(v uint64) { key.Write(binary.LittleEndian.AppendUint64(nil, v)) }
	number(uint64(l.otherwise))
	for _, r := range l.rules {
		number(uint64(r.verdict))
		number(uint64(len(r.conditions)))
		for _, c := range r.conditions {
			key.WriteByte(c.arg)
			if c.not {
				key.WriteByte('!')
			}
			if c.narrow {
				key.WriteByte('<')
			}
			key.WriteString(string(c.op))
			number(c.value)
			number(c.mask)
		}
	}
	if known, ok := a.interned[key.String()]; ok {
		return known
	}
	a.interned[key.String()] = l
	return l
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
