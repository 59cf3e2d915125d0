package inflate

import (
	"math/bits"
	"sync"
)

// A table is looked into with the next bits, literalBits or distanceBits of them. An entry is
//
//	bits 0–7    how many bits the symbol takes, with the extra bits behind it
//	bits 8–11   how many of them are the code's
//	bits 12–15  flags
//	bits 16–30  the literal, or what the extra bits are added to
//	bit 31      it is a literal
//
// or, with entrySubtable, in 16–30 the place of a table for longer codes, and in 0–7 how many more bits it is looked into with.
// Its entries count only the bits behind the first table's. A special entry of no bits is no code.
const (
	entryBits     = 0xff
	entryCode     = 8
	entryValue    = 16
	entrySubtable = 1 << 12
	entryEnd      = 1 << 13 // of the block
	entrySpecial  = 1 << 15 // a subtable, the end, or a symbol that must not be
	entryLiteral  = 1 << 31

	literalBits  = 11
	distanceBits = 8
	maxCodeBits  = 7
	maxBits      = 15
)

// Behind the first table, of 286 codes at most 142 pairs have 16 entries each, of 30 codes 14 pairs have 128. With a power of two
// an index needs no check.
type (
	literalTable  [8192]uint32
	distanceTable [2048]uint32
)

func plainEntry(symbol int) uint32 { return uint32(symbol) << entryValue }

func literalEntry(symbol int) uint32 {
	switch n := symbol - 257; {
	case symbol < endOfBlock:
		return entryLiteral | uint32(symbol)<<entryValue
	case symbol == endOfBlock:
		return entrySpecial | entryEnd
	case n < 8:
		return uint32(n+3) << entryValue
	case n < 28:
		extra := n/4 - 1
		return uint32(3+(4+n%4)<<extra)<<entryValue | uint32(extra)
	case n == 28:
		return 258 << entryValue
	}
	return entrySpecial
}

func distanceEntry(symbol int) uint32 {
	switch {
	case symbol < 4:
		return uint32(symbol+1) << entryValue
	case symbol < maxDistances:
		extra := symbol/2 - 1
		return uint32(1+(2+symbol%2)<<extra)<<entryValue | uint32(extra)
	}
	return entrySpecial
}

// build makes the table of a code, given by the length of each symbol's (RFC 1951, 3.2.2), and says whether it is one: it must
// use all bits, but there may be no code at all, or a single one of one bit.
func build(table []uint32, lengths []uint8, primary uint, entry func(symbol int) uint32) bool {
	var counts [maxBits + 1]int
	for _, n := range lengths {
		counts[n]++
	}
	counts[0] = 0
	var next [maxBits + 2]uint32 // the code of the next symbol of a length
	code, longest := uint32(0), uint(0)
	for n := uint(1); n <= maxBits; n++ {
		next[n] = code
		code += uint32(counts[n])
		if counts[n] > 0 {
			longest = n
		}
		if code > 1<<n {
			return false
		}
		code <<= 1
	}
	for i := range table[:1<<primary] {
		table[i] = entrySpecial
	}
	if longest == 0 {
		return true
	}
	if code>>1 != 1<<maxBits && !(longest == 1 && counts[1] == 1) {
		return false
	}
	deeper := max(longest, primary) - primary
	free := uint32(1) << primary
	for symbol, n := range lengths {
		n := uint(n)
		if n == 0 {
			continue
		}
		code := reverse(next[n], n)
		next[n]++
		e, part, bits := entry(symbol), table[:1<<primary], n
		if n > primary {
			first := &table[code&(1<<primary-1)]
			if *first == entrySpecial {
				*first = free<<entryValue | entrySpecial | entrySubtable | uint32(deeper)
				free += 1 << deeper
			}
			part = table[*first>>entryValue:][:1<<deeper]
			code >>= primary
			bits = n - primary
		}
		e += uint32(bits)<<entryCode + uint32(bits)
		for i := code; i < uint32(len(part)); i += 1 << bits {
			part[i] = e
		}
	}
	return true
}

// fixedTables are those of RFC 1951, 3.2.6.
var fixedTables = sync.OnceValue(func() *struct {
	literals  literalTable
	distances distanceTable
} {
	var t struct {
		literals  literalTable
		distances distanceTable
	}
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	build(t.literals[:], lengths[:], literalBits, literalEntry)
	for i := range 32 {
		lengths[i] = 5
	}
	build(t.distances[:], lengths[:32], distanceBits, distanceEntry)
	return &t
})

// reverse reverses the lowest n bits.
func reverse(code uint32, n uint) uint32 { return bits.Reverse32(code) >> (32 - n) }
