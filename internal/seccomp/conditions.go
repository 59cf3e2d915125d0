package seccomp

import (
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// rules writes a chain of rules, of which the first that matches decides.
func (a *assembler) rules(list []rule, otherwise verdict) label {
	next := a.ret(otherwise)
	for end := len(list); end > 0; {
		start := end - 1
		for start > 0 && list[start-1].alike(list[end-1]) {
			start--
		}
		if start < end-1 {
			next = a.oneOf(list[start:end], next)
		} else {
			next = a.rule(list[start], next)
		}
		end = start
	}
	return next
}

// alike tells whether two rules are "this argument is X" and "the same one is Y", X and Y with equal upper halves,
// and say the same then.
func (r rule) alike(o rule) bool {
	if len(r.conditions) != 1 || len(o.conditions) != 1 || r.verdict != o.verdict {
		return false
	}
	x, y := r.conditions[0], o.conditions[0]
	return x.op == specs.OpEqualTo && y.op == specs.OpEqualTo && !x.not && !y.not && x.arg == y.arg &&
		x.narrow == y.narrow && x.value>>32 == y.value>>32
}

// oneOf writes alike rules: the argument is loaded once and compared with each value, or with where runs of values begin and
// end, whatever is less.
func (a *assembler) oneOf(list []rule, next label) label {
	c := list[0].conditions[0]
	yes := a.ret(list[0].verdict)
	at := next
	if b := bounds(list); len(b) <= len(list) {
		at = a.search(b, yes, next)
	} else {
		for i := len(list) - 1; i >= 0; i-- {
			at = a.branch(opJumpEqual, uint32(list[i].conditions[0].value), yes, at)
		}
	}
	at = a.load(c.lower(), at)
	if c.narrow {
		return at
	}
	return a.load(c.upper(), a.branch(opJumpEqual, uint32(c.value>>32), at, next))
}

// A bound is the first of a run of values which are all, or none of them, among a list's.
type bound struct {
	start uint32
	among bool
}

// bounds returns the runs of the values of alike rules, sorted, from 0.
func bounds(list []rule) []bound {
	values := make([]uint32, len(list))
	for i := range list {
		values[i] = uint32(list[i].conditions[0].value)
	}
	slices.Sort(values)
	b := []bound{{0, values[0] == 0}}
	for i, v := range values {
		if !b[len(b)-1].among {
			b = append(b, bound{v, true})
		}
		if v != math.MaxUint32 && (i+1 == len(values) || values[i+1] > v+1) {
			b = append(b, bound{v + 1, false})
		}
	}
	return b
}

// search writes a balanced search for the accumulator's run.
func (a *assembler) search(b []bound, yes, no label) label {
	if len(b) == 1 {
		if b[0].among {
			return yes
		}
		return no
	}
	middle := len(b) / 2
	upper := a.search(b[middle:], yes, no)
	lower := a.search(b[:middle], yes, no)
	return a.branch(opJumpAtLeast, b[middle].start, upper, lower)
}

// rule writes one rule: its verdict if all conditions hold, else on to next.
func (a *assembler) rule(r rule, next label) label {
	at := a.ret(r.verdict)
	for i := len(r.conditions) - 1; i >= 0; i-- {
		at = a.condition(r.conditions[i], at, next)
	}
	return at
}

// lower and upper are where the halves of the argument lie.
func (c condition) lower() uint32 { return offsetArgs + 8*uint32(c.arg) }
func (c condition) upper() uint32 { return c.lower() + 4 }

// condition writes one comparison; of 64 bits, the upper halves first.
func (a *assembler) condition(c condition, yes, no label) label {
	if c.not {
		yes, no = no, yes
	}
	low, high := uint32(c.value), uint32(c.value>>32)
	switch c.op {
	case specs.OpMaskedEqual:
		at := a.masked(c.lower(), uint32(c.mask), low, yes, no)
		return a.masked(c.upper(), uint32(c.mask>>32), high, at, no)
	case specs.OpEqualTo:
		at := a.load(c.lower(), a.branch(opJumpEqual, low, yes, no))
		if c.narrow {
			return at
		}
		return a.load(c.upper(), a.branch(opJumpEqual, high, at, no))
	}
	code := opJumpAtLeast
	if c.op == specs.OpGreaterThan {
		code = opJumpGreater
	}
	at := a.load(c.lower(), a.branch(code, low, yes, no))
	if c.narrow {
		return at
	}
	equal := a.branch(opJumpEqual, high, at, no)
	return a.load(c.upper(), a.branch(opJumpGreater, high, yes, equal))
}

// masked writes the comparison of one half; without a bit in the mask it always holds.
func (a *assembler) masked(offset, mask, value uint32, yes, no label) label {
	if mask == 0 {
		return yes
	}
	at := a.branch(opJumpEqual, value, yes, no)
	if mask != ^uint32(0) {
		a.follow(at)
		at = a.emit(instruction{code: opAnd, k: mask})
	}
	return a.load(offset, at)
}
