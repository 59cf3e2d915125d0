package sha256pair

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

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
