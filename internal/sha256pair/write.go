package sha256pair

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
)

// Write is as a.Write(p) and b.Write(q), side by side where the processor can and both are hashes of crypto/sha256.
func Write(a, b hash.Hash, p, q []byte) {
	if n := min(len(p), len(q)) &^ (sha256.BlockSize - 1); n > 0 && can() && together(a, b, p[:n], q[:n]) {
		p, q = p[n:], q[n:]
	}
	a.Write(p)
	b.Write(q)
}

// can says whether it is possible here: whether the processor has the instructions, and crypto/sha256 keeps its state as it
// did when this was written.
var can = sync.OnceValue(func() bool {
	if !capable() {
		return false
	}
	p, q := bytes.Repeat([]byte{1, 2, 3, 4}, 64), bytes.Repeat([]byte{5, 6, 7, 8}, 64)
	a, b := sha256.New(), sha256.New()
	if !together(a, b, p[:128], q[:128]) {
		return false
	}
	a.Write(p[128:])
	b.Write(q[128:])
	wantA, wantB := sha256.Sum256(p), sha256.Sum256(q)
	return bytes.Equal(a.Sum(nil), wantA[:]) && bytes.Equal(b.Sum(nil), wantB[:])
})

// What a hash of crypto/sha256 is when it is marshalled: a name, the state, the bytes of a block that is not whole, and how many
// bytes there were.
const (
	magic     = "sha\x03"
	stateAt   = len(magic)
	sizeAt    = stateAt + sha256.Size + sha256.BlockSize
	marshaled = sizeAt + 8
)

// A saved hash is one that can be taken out of its hash.Hash and put back.
type saved struct {
	h     encoding.BinaryUnmarshaler
	bytes []byte
	state [8]uint32
}

// save says whether the hash is of crypto/sha256 and between two blocks.
func (s *saved) save(h hash.Hash) bool {
	from, ok := h.(encoding.BinaryAppender)
	if !ok {
		return false
	}
	if s.h, ok = h.(encoding.BinaryUnmarshaler); !ok {
		return false
	}
	var err error
	s.bytes, err = from.AppendBinary(make([]byte, 0, marshaled))
	if err != nil || len(s.bytes) != marshaled || string(s.bytes[:stateAt]) != magic ||
		binary.BigEndian.Uint64(s.bytes[sizeAt:])%sha256.BlockSize != 0 {
		return false
	}
	for i := range s.state {
		s.state[i] = binary.BigEndian.Uint32(s.bytes[stateAt+4*i:])
	}
	return true
}

// restore puts the hash back, with n more bytes written to it.
func (s *saved) restore(n int) error {
	for i, v := range s.state {
		binary.BigEndian.PutUint32(s.bytes[stateAt+4*i:], v)
	}
	binary.BigEndian.PutUint64(s.bytes[sizeAt:], binary.BigEndian.Uint64(s.bytes[sizeAt:])+uint64(n))
	return s.h.UnmarshalBinary(s.bytes)
}

// together writes whole blocks, as many of either, and says whether it did; if not, the hashes are as they were.
func together(a, b hash.Hash, p, q []byte) bool {
	var x, y saved
	if !x.save(a) || !y.save(b) {
		return false
	}
	before := bytes.Clone(x.bytes)
	blocks(&x.state, &y.state, &p[0], &q[0], len(p)/sha256.BlockSize)
	if x.restore(len(p)) != nil {
		return false
	}
	if y.restore(len(q)) != nil {
		_ = x.h.UnmarshalBinary(before)
		return false
	}
	return true
}
