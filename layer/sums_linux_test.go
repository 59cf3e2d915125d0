package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// someBytes returns bytes that are different for each n.
func someBytes(n, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// TestSums: streams of all lengths, of several algorithms, that come side by side, get their digests.
func TestSums(t *testing.T) {
	s := &sums{}
	var wg sync.WaitGroup
	for n, size := range []int{0, 1, chunkSize, 64, chunkSize*12 + 63, chunkSize * 17, chunkSize*10 + 1, 3 * chunkSize} {
		b := someBytes(n, size)
		for _, h := range []hash.Hash{sha256.New(), sha512.New(), sha256.New()} {
			wg.Go(func() {
				d := s.open(h)
				wg.Go(func() { pump(t.Context(), bytes.NewReader(b), nil, d) })
				if err := d.compute(); err != nil {
					t.Error(err)
				}
				got := h.Sum(nil)
				h.Reset()
				h.Write(b)
				if !bytes.Equal(h.Sum(nil), got) {
					t.Errorf("another digest of %d bytes", size)
				}
			})
		}
	}
	wg.Wait()
	require.Empty(t, s.all)
}

// TestSumsStalled: a stream does not wait for another that does not go on, nor for one that fails.
func TestSumsStalled(t *testing.T) {
	s := &sums{}
	var wg sync.WaitGroup
	defer wg.Wait()
	r, w := io.Pipe()
	broken := errors.New("broken")
	defer w.CloseWithError(broken)
	stalled := s.open(sha256.New())
	wg.Go(func() { pump(t.Context(), r, nil, stalled) })
	wg.Go(func() {
		if err := stalled.compute(); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
	_, err := w.Write(make([]byte, chunkSize+1)) // the second chunk is not whole
	require.NoError(t, err)

	b := someBytes(1, 3*chunkQueue*chunkSize)
	h := sha256.New()
	d := s.open(h)
	wg.Go(func() { pump(t.Context(), bytes.NewReader(b), nil, d) })
	require.NoError(t, d.compute())
	want := sha256.Sum256(b)
	require.Equal(t, want[:], h.Sum(nil))
}

// TestSumsFull: who waits for room goes when its context ends.
func TestSumsFull(t *testing.T) {
	s := &sums{}
	d := s.open(sha256.New())
	s.open(sha256.New()) // with another one d waits for it until it is full
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	read := 0
	pump(ctx, readerFunc(func(p []byte) (int, error) {
		if read += len(p); read > chunkQueue*chunkSize {
			cancel(gone)
		}
		return len(p), nil
	}), nil, d)
	require.Len(t, d.held, chunkQueue)
	require.ErrorIs(t, d.compute(), gone)
	require.NotContains(t, s.all, d)
}
