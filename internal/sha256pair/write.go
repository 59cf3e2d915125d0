package sha256pair

import (
	"bytes"
	"crypto/sha256"
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
