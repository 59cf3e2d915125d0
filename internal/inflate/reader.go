package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	windowSize = 32 << 10 // how far back a match may be
	inputSize  = 64 << 10
	leastRead  = windowSize // a Read of less goes through a buffer
)

// ErrChecksum is returned when a member's content is not what was compressed.
var ErrChecksum = errors.New("gzip: invalid checksum")

// ErrHeader is returned when what should be the beginning of a gzip file, or what follows a member, is not one.
var ErrHeader = errors.New("gzip: invalid header")

// errCorrupt is returned, wrapped, for what is not DEFLATE.
var errCorrupt = errors.New("gzip: corrupt input")

// A Reader inflates a gzip file of one or more members. It reads from its source what it needs to go on, and what there is
// at once with it.
type Reader struct {
	src   io.Reader
	in    [inputSize]byte
	next  int    // of the bytes in in
	end   int    // of them
	taken int64  // bytes that were in in before those
	bits  uint64 // those taken from in, the next one lowest
	count uint   // of bits

	step  func(*Reader) error // what comes next
	ended bool                // a member did: what comes next begins with a Read of its own
	final bool                // the block is the member's last
	left  int                 // bytes of the stored block

	out      []byte // the caller's
	pos      int
	history  [windowSize]byte // what was read before
	past     int              // how much of it, at its end, is the member's
	length   int              // what of a match there was no room for
	distance int

	literals  *literalTable
	distances *distanceTable
	dynamic   struct {
		literals  literalTable
		distances distanceTable
		codes     [1 << maxCodeBits]uint32
		lengths   [maxLiterals + maxDistances]uint8
	}

	summed int // how much of out is in sum and size
	sum    uint32
	size   uint32

	small, rest []byte // what Reads of little are from
	err         error
}

// NewReader reads the first member's header.
func NewReader(r io.Reader) (*Reader, error) {
	z := &Reader{src: r}
	if err := z.header(); err != nil {
		return nil, err
	}
	return z, nil
}

// Read implements io.Reader.
func (z *Reader) Read(p []byte) (int, error) {
	if len(z.rest) == 0 && len(p) >= leastRead {
		return z.read(p)
	}
	if len(p) > 0 && len(z.rest) == 0 {
		if z.small == nil {
			z.small = make([]byte, 2*leastRead)
		}
		n, err := z.read(z.small)
		if n == 0 {
			return 0, err
		}
		z.rest = z.small[:n]
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

// read fills p, up to the end of a member. An error comes without bytes.
func (z *Reader) read(p []byte) (int, error) {
	z.out, z.pos, z.summed, z.ended = p, 0, 0, false
	for z.err == nil && z.pos < len(p) && !(z.ended && z.pos > 0) {
		z.err = z.step(z)
	}
	n := z.pos
	if !z.ended {
		z.check()
		z.remember()
	}
	z.out = nil
	if n > 0 {
		return n, nil
	}
	return 0, z.err
}

// check adds what was written to the checksum.
func (z *Reader) check() {
	z.sum = crc32.Update(z.sum, crc32.IEEETable, z.out[z.summed:z.pos])
	z.size += uint32(z.pos - z.summed)
	z.summed = z.pos
}

// remember keeps the end of what was written, which is about to be somebody else's.
func (z *Reader) remember() {
	recent := z.out[:z.pos]
	if len(recent) > windowSize {
		recent = recent[len(recent)-windowSize:]
	}
	copy(z.history[:], z.history[len(recent):])
	copy(z.history[windowSize-len(recent):], recent)
	z.past = min(z.past+len(recent), windowSize)
}

// fill reads more, and returns io.ErrUnexpectedEOF at the end.
func (z *Reader) fill() error {
	err := z.more()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (z *Reader) more() error {
	z.unread()
	z.taken += int64(z.next)
	z.end = copy(z.in[:], z.in[z.next:z.end])
	z.next = 0
	for range 100 {
		n, err := z.src.Read(z.in[z.end:])
		if n > 0 {
			z.end += n
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// unread gives whole bytes back to in.
func (z *Reader) unread() {
	z.next -= int(z.count / 8)
	z.count %= 8
	z.bits &= 1<<z.count - 1
}

// header reads a member's header; io.EOF says that there is none.
func (z *Reader) header() error {
	if z.next == z.end {
		if err := z.more(); err != nil {
			return err
		}
	}
	var head [10]byte
	sum := uint32(0)
	if err := z.bytes(head[:], &sum); err != nil {
		return err
	}
	flags := head[3]
	if head[0] != 0x1f || head[1] != 0x8b || head[2] != 8 {
		return ErrHeader
	}
	if flags&4 != 0 { // extra field
		var size [2]byte
		if err := z.bytes(size[:], &sum); err != nil {
			return err
		}
		if err := z.bytes(make([]byte, binary.LittleEndian.Uint16(size[:])), &sum); err != nil {
			return err
		}
	}
	for _, flag := range []byte{8, 16} { // name, comment
		var c [1]byte
		for n := 0; flags&flag != 0; n++ {
			if err := z.bytes(c[:], &sum); err != nil {
				return err
			}
			if c[0] == 0 {
				break
			}
			if n == 511 { // compress/gzip's bound
				return ErrHeader
			}
		}
	}
	if flags&2 != 0 {
		want := uint16(sum)
		var got [2]byte
		if err := z.bytes(got[:], &sum); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(got[:]) != want {
			return ErrHeader
		}
	}
	z.sum, z.size, z.past, z.ended = 0, 0, 0, false
	z.step = (*Reader).block
	return nil
}

// trailer reads what follows a member's last block.
func (z *Reader) trailer() error {
	z.check()
	z.unread()
	z.bits, z.count = 0, 0
	var tail [8]byte
	var unused uint32
	if err := z.bytes(tail[:], &unused); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(tail[:]) != z.sum || binary.LittleEndian.Uint32(tail[4:]) != z.size {
		return ErrChecksum
	}
	z.ended = true
	z.step = (*Reader).header
	return nil
}

// bytes reads whole bytes, when there are no bits.
func (z *Reader) bytes(p []byte, sum *uint32) error {
	for n := 0; n < len(p); {
		if z.next == z.end {
			if err := z.fill(); err != nil {
				return err
			}
		}
		m := copy(p[n:], z.in[z.next:z.end])
		z.next += m
		n += m
	}
	*sum = crc32.Update(*sum, crc32.IEEETable, p)
	return nil
}

func (z *Reader) corrupt(what string) error {
	return fmt.Errorf("%w: %s before byte %d", errCorrupt, what, z.taken+int64(z.next)+1)
}
