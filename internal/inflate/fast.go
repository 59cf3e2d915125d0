package inflate

import "encoding/binary"

const (
	fastInput  = 32  // bytes that a round of fast may read
	fastOutput = 320 // or write: three literals, a match, and what is written beyond it
)

// fast inflates as long as there is plenty of input and of room. A match that begins in history is left to copyMatch.
//
// All that a symbol takes is in local variables, and few branches depend on the data. Of nb, the count of bits, the lowest six bits are
// meant: whole entries are subtracted from it.
func (z *Reader) fast() (ended bool, err error) {
	in, out := z.in[:z.end], z.out
	next, pos, bb, nb := z.next, z.pos, z.bits, uint32(z.count)
	literals, distances := z.literals, z.distances
	lastIn, lastOut := len(in)-fastInput, len(out)-fastOutput
	var what string
	for next <= lastIn && pos <= lastOut {
		// At least 56 bits are there after this. What is above them is the beginning of what comes next.
		bb |= load(in, next) << (nb & 63)
		next += 7 - int(nb>>3&7)
		nb |= 56
		e := literals[bb&(1<<literalBits-1)]
		if e&entryLiteral != 0 {
			out[pos] = byte(e >> entryValue)
			pos++
			bb >>= e & 63
			nb -= e
			e = literals[bb&(1<<literalBits-1)]
			if e&entryLiteral != 0 {
				out[pos] = byte(e >> entryValue)
				pos++
				bb >>= e & 63
				nb -= e
				e = literals[bb&(1<<literalBits-1)]
				if e&entryLiteral != 0 {
					out[pos] = byte(e >> entryValue)
					pos++
					bb >>= e & 63
					nb -= e
					continue
				}
			}
			bb |= load(in, next) << (nb & 63) // a match takes up to 48 bits
			next += 7 - int(nb>>3&7)
			nb |= 56
		}
		if e&entrySpecial != 0 {
			if e&entrySubtable != 0 {
				bb >>= literalBits
				nb -= literalBits
				e = literals[(e>>entryValue+uint32(bb)&(1<<(e&31)-1))%uint32(len(literals))]
				if e&entryLiteral != 0 {
					out[pos] = byte(e >> entryValue)
					pos++
					bb >>= e & 63
					nb -= e
					continue
				}
			}
			if e&entryEnd != 0 {
				bb >>= e & 63
				nb -= e
				ended = true
				break
			}
			if e&entrySpecial != 0 {
				what = "no such code"
				break
			}
		}
		length := int(e>>entryValue) + int(bb&(1<<(e&63)-1)>>(e>>entryCode&15))
		bb >>= e & 63
		nb -= e
		e = distances[bb&(1<<distanceBits-1)]
		if e&entrySpecial != 0 {
			if e&entrySubtable != 0 {
				bb >>= distanceBits
				nb -= distanceBits
				e = distances[(e>>entryValue+uint32(bb)&(1<<(e&31)-1))%uint32(len(distances))]
			}
			if e&entrySpecial != 0 {
				what = "no such distance"
				break
			}
		}
		distance := int(e>>entryValue) + int(bb&(1<<(e&63)-1)>>(e>>entryCode&15))
		bb >>= e & 63
		nb -= e
		from, to := pos-distance, pos
		if from < 0 {
			if -from > z.past {
				what = "match with what was before the beginning"
			}
			z.length, z.distance = length, distance
			break
		}
		pos += length
		switch {
		case distance >= 8:
			// Up to 15 bytes too many are written, which what comes next replaces.
			store(out, to, load(out, from))
			store(out, to+8, load(out, from+8))
			for length > 16 {
				from, to, length = from+16, to+16, length-16
				store(out, to, load(out, from))
				store(out, to+8, load(out, from+8))
			}
		case distance == 1:
			v := uint64(out[from]) * 0x0101010101010101
			for ; length > 0; to, length = to+8, length-8 {
				store(out, to, v)
			}
		default:
			for ; length > 0; from, to, length = from+1, to+1, length-1 {
				out[to] = out[from]
			}
		}
	}
	z.next, z.pos, z.bits, z.count = next, pos, bb&(1<<(nb&63)-1), uint(nb&63)
	if what != "" {
		return false, z.corrupt(what)
	}
	return ended, nil
}

// load reads eight bytes at i, the first one lowest. A slice of a known capacity is checked only once.
func load(p []byte, i int) uint64 { return binary.LittleEndian.Uint64(p[i : i+8 : i+8]) }

func store(p []byte, i int, v uint64) { binary.LittleEndian.PutUint64(p[i:i+8:i+8], v) }
