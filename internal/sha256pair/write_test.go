package sha256pair

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

// TestCan: on a processor with the instructions the pairs are written together, whatever Go's own hashes have become.
func TestCan(t *testing.T) { require.Equal(t, capable(), can()) }

// TestWrite: two hashes become what they would each on its own, whatever is written to them and whichever they are.
func TestWrite(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	news := []func() hash.Hash{sha256.New, sha256.New, sha256.New, sha256.New224, sha512.New}
	lengths := []int{0, 1, 63, 64, 65, 127, 128, 1000, 4096, 10000}
	for range 500 {
		newA, newB := news[r.IntN(len(news))], news[r.IntN(len(news))]
		a, b, wantA, wantB := newA(), newB(), newA(), newB()
		for range 1 + r.IntN(6) {
			p, q := some(lengths[r.IntN(len(lengths))]), some(lengths[r.IntN(len(lengths))])
			Write(a, b, p, q)
			wantA.Write(p)
			wantB.Write(q)
			require.Equal(t, wantA.Sum(nil), a.Sum(nil))
			require.Equal(t, wantB.Sum(nil), b.Sum(nil))
		}
	}
}

// TestWritePlain: a hash that cannot be taken out of itself is written to as ever.
func TestWritePlain(t *testing.T) {
	a, b := struct{ hash.Hash }{sha256.New()}, sha256.New()
	Write(a, b, make([]byte, 128), make([]byte, 192))
	want, wantB := sha256.Sum256(make([]byte, 128)), sha256.Sum256(make([]byte, 192))
	require.Equal(t, want[:], a.Sum(nil))
	require.Equal(t, wantB[:], b.Sum(nil))
}

func FuzzWrite(f *testing.F) {
	f.Add([]byte("abc"), []byte("defg"), uint16(70))
	f.Fuzz(func(t *testing.T, p, q []byte, n uint16) {
		for range 8 { // of little, much
			p, q = append(p, p...), append(q, q...)
		}
		a, b := sha256.New(), sha256.New()
		i, j := min(int(n), len(p)), min(int(n), len(q))
		Write(a, b, p[:i], q[:j])
		Write(b, a, q[j:], p[i:])
		wantA, wantB := sha256.Sum256(p), sha256.Sum256(q)
		require.Equal(t, wantA[:], a.Sum(nil))
		require.Equal(t, wantB[:], b.Sum(nil))
	})
}

func BenchmarkWrite(b *testing.B) {
	p, q := make([]byte, 128<<10), make([]byte, 128<<10)
	x, y := sha256.New(), sha256.New()
	b.Run("pair", func(b *testing.B) {
		b.SetBytes(256 << 10)
		for b.Loop() {
			Write(x, y, p, q)
		}
	})
	b.Run("each", func(b *testing.B) {
		b.SetBytes(256 << 10)
		for b.Loop() {
			x.Write(p)
			y.Write(q)
		}
	})
}
