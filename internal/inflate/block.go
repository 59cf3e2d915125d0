package inflate

import "encoding/binary"

const (
	maxLiterals  = 286 // symbols of literals and lengths that may be used
	maxDistances = 30
	endOfBlock   = 256
)

// need makes n bits available, at most 16.
func (z *Reader) need(n uint) error {
	for z.count < n {
		if z.next == z.end {
			if err := z.fill(); err != nil {
				return err
			}
		}
		z.bits |= uint64(z.in[z.next]) << z.count
		z.next++
		z.count += 8
	}
	return nil
}

func (z *Reader) drop(n uint) {
	z.bits >>= n
	z.count -= n
}

// take takes n bits.
func (z *Reader) take(n uint) (int, error) {
	if err := z.need(n); err != nil {
		return 0, err
	}
	v := int(z.bits & (1<<n - 1))
	z.drop(n)
	return v, nil
}

// block reads a block's header.
func (z *Reader) block() error {
	head, err := z.take(3)
	if err != nil {
		return err
	}
	z.final = head&1 != 0
	switch head >> 1 {
	case 0:
		return z.beginStored()
	case 1:
		fixed := fixedTables()
		z.literals, z.distances = &fixed.literals, &fixed.distances
	case 2:
		if err := z.readTables(); err != nil {
			return err
		}
		z.literals, z.distances = &z.dynamic.literals, &z.dynamic.distances
	default:
		return z.corrupt("block of an unknown type")
	}
	z.step = (*Reader).compressed
	return nil
}

func (z *Reader) endBlock() {
	z.step = (*Reader).block
	if z.final {
		z.step = (*Reader).trailer
	}
}

func (z *Reader) beginStored() error {
	z.unread()
	z.bits, z.count = 0, 0
	var head [4]byte
	var unused uint32
	if err := z.bytes(head[:], &unused); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint16(head[:])
	if n != ^binary.LittleEndian.Uint16(head[2:]) {
		return z.corrupt("stored block's length")
	}
	if z.left = int(n); n == 0 {
		z.endBlock()
		return nil
	}
	z.step = (*Reader).stored
	return nil
}

// stored copies a stored block.
func (z *Reader) stored() error {
	if z.next == z.end {
		if err := z.fill(); err != nil {
			return err
		}
	}
	n := copy(z.out[z.pos:], z.in[z.next:min(z.end, z.next+z.left)])
	z.next += n
	z.pos += n
	if z.left -= n; z.left == 0 {
		z.endBlock()
	}
	return nil
}

// codeOrder is the order of the lengths of the codes of lengths.
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readTables reads a dynamic block's codes.
func (z *Reader) readTables() error {
	counts, err := z.take(14)
	if err != nil {
		return err
	}
	nLiterals, nDistances, nCodes := counts&31+257, counts>>5&31+1, counts>>10+4
	if nLiterals > maxLiterals || nDistances > maxDistances {
		return z.corrupt("too many codes")
	}
	var codes [len(codeOrder)]uint8
	for _, i := range codeOrder[:nCodes] {
		n, err := z.take(3)
		if err != nil {
			return err
		}
		codes[i] = uint8(n)
	}
	if !build(z.dynamic.codes[:], codes[:], maxCodeBits, plainEntry) {
		return z.corrupt("codes of lengths")
	}
	lengths := z.dynamic.lengths[:nLiterals+nDistances]
	for i := 0; i < len(lengths); {
		e, err := z.symbol(z.dynamic.codes[:], maxCodeBits)
		if err != nil {
			return err
		}
		symbol := e >> entryValue
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		repeat, extra, value := 3, uint(2), uint8(0)
		switch symbol {
		case 16:
			if i == 0 {
				return z.corrupt("repetition of nothing")
			}
			value = lengths[i-1]
		case 17:
			extra = 3
		case 18:
			repeat, extra = 11, 7
		}
		n, err := z.take(extra)
		if err != nil {
			return err
		}
		if repeat += n; repeat > len(lengths)-i {
			return z.corrupt("lengths of codes")
		}
		for range repeat {
			lengths[i] = value
			i++
		}
	}
	if !build(z.dynamic.literals[:], lengths[:nLiterals], literalBits, literalEntry) ||
		!build(z.dynamic.distances[:], lengths[nLiterals:], distanceBits, distanceEntry) {
		return z.corrupt("codes")
	}
	return nil
}

// symbol takes one symbol, and not a bit more, and returns its entry. The extra bits stay.
func (z *Reader) symbol(table []uint32, primary uint) (uint32, error) {
	for {
		e := table[z.bits&(1<<primary-1)]
		if e&entrySubtable != 0 && z.count >= primary {
			e = table[e>>entryValue+uint32(z.bits>>primary)&(1<<(e&entryBits)-1)]
			if n := primary + uint(e>>entryCode&15); n <= z.count {
				z.drop(n)
				return e, nil
			}
		} else if n := uint(e >> entryCode & 15); e&entrySubtable == 0 && n <= z.count {
			if n == 0 {
				return 0, z.corrupt("no such code")
			}
			z.drop(n)
			return e, nil
		}
		if err := z.need(z.count + 1); err != nil {
			return 0, err
		}
	}
}

// compressed inflates a block with codes, up to its end or to that of the room.
func (z *Reader) compressed() error {
	for {
		if z.length > 0 {
			z.copyMatch()
		}
		ended, err := z.fast()
		if err != nil {
			return err
		}
		if ended {
			z.endBlock()
			return nil
		}
		if z.length > 0 {
			z.copyMatch()
		}
		if z.pos == len(z.out) {
			return nil
		}
		if ended, err = z.one(); err != nil {
			return err
		}
		if ended {
			z.endBlock()
			return nil
		}
	}
}

// one inflates one symbol, with no more input than it takes.
func (z *Reader) one() (ended bool, err error) {
	e, err := z.symbol(z.literals[:], literalBits)
	switch {
	case err != nil:
		return false, err
	case e&entryLiteral != 0:
		z.out[z.pos] = byte(e >> entryValue)
		z.pos++
		return false, nil
	case e&entryEnd != 0:
		return true, nil
	case e&entrySpecial != 0:
		return false, z.corrupt("no such length")
	}
	length, err := z.extra(e)
	if err != nil {
		return false, err
	}
	if e, err = z.symbol(z.distances[:], distanceBits); err != nil {
		return false, err
	}
	if e&entrySpecial != 0 {
		return false, z.corrupt("no such distance")
	}
	distance, err := z.extra(e)
	if err != nil {
		return false, err
	}
	if distance > z.pos+z.past {
		return false, z.corrupt("match with what was before the beginning")
	}
	z.length, z.distance = length, distance
	z.copyMatch()
	return false, nil
}

// extra takes the extra bits of a symbol and returns its value.
func (z *Reader) extra(e uint32) (int, error) {
	n, err := z.take(uint(e&entryBits - e>>entryCode&15))
	return int(e>>entryValue) + n, err
}

// copyMatch copies what there is room for of a match, which may begin in history.
func (z *Reader) copyMatch() {
	if back := z.distance - z.pos; back > 0 {
		n := copy(z.out[z.pos:], z.history[windowSize-back:][:min(back, z.length)])
		z.pos += n
		z.length -= n
	}
	from := z.pos - z.distance
	for z.length > 0 && z.pos < len(z.out) {
		z.out[z.pos] = z.out[from]
		from++
		z.pos++
		z.length--
	}
}
