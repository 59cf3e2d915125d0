package seccomp

import (
	"slices"
	"sort"
)

// numbers loads the syscall's number and searches the spans for it.
func (a *assembler) numbers(spans []span) label {
	spans = merge(spans)
	if folded := a.foldX32(spans); folded != nil {
		a.follow(a.tree(folded))
		return a.load(offsetNumber, a.emit(instruction{code: opAnd, k: ^uint32(x32Bit)}))
	}
	return a.load(offsetNumber, a.tree(spans))
}

// foldX32 lays x32's spans over x86_64's, whose numbers mean the same for the most part: a search without x32's bit leads to one
// leaf for both, or to a pair of them, between which the bit decides. It returns nil if that is not less, or there is no x32.
// The kernel takes the time for a filter that it takes to compile it, at each start.
func (a *assembler) foldX32(spans []span) []span {
	const above = 2 * x32Bit // numbers of neither
	if last := spans[len(spans)-1].start; last < x32Bit || last >= above {
		return nil
	}
	at := func(number uint32) *leaf {
		return spans[sort.Search(len(spans), func(i int) bool { return spans[i].start > number })-1].leaf
	}
	starts := make([]uint32, 0, len(spans)+1)
	for _, s := range spans {
		starts = append(starts, s.start&^x32Bit)
	}
	slices.Sort(starts)
	folded := make([]span, 0, len(starts)+1)
	pairs := map[[2]*leaf]*leaf{}
	for _, n := range slices.Compact(starts) {
		pair := [2]*leaf{at(n), at(n | x32Bit)}
		l := pair[0]
		if l != pair[1] {
			if l = pairs[pair]; l == nil {
				l = &leaf{pair: &pair}
				pairs[pair] = l
			}
		}
		folded = append(folded, span{n, l})
	}
	folded = merge(append(folded, span{above, at(above)}))
	if len(folded)+2*len(pairs) >= len(spans) {
		return nil
	}
	return folded
}
