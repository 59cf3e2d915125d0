package layer

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestLargeWindowsTakeTurns: a stream with a large window is read alone, those with small ones side by side, and what waits for
// its turn can be ended.
func TestLargeWindowsTakeTurns(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	archive := newTar(t, file("f", noise(1<<20)))
	small, large := zstdFrame(t, archive, 8<<20), zstdFrame(t, archive, 16<<20)
	later := append(zstdFrame(t, archive[:512], 1<<20), zstdFrame(t, archive[512:], 16<<20)...)

	r, w := io.Pipe()
	first := make(chan error, 1)
	go func() {
		p, err := s.Extract(t.Context(), r, nil)
		if err == nil {
			err = p.Discard()
		}
		first <- err
	}()
	_, err := w.Write(large[:600<<10]) // the turn is taken, and the stream goes on later
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(s.decoders.turn) == 1 }, time.Minute, time.Millisecond)

	for _, stream := range [][]byte{large, later, small} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = s.Extract(ctx, bytes.NewReader(stream), nil)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	_, err = w.Write(large[600<<10:])
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, <-first)

	r, w = io.Pipe()
	go func() {
		_, err := s.DiffID(t.Context(), r, nil)
		first <- err
	}()
	_, err = w.Write(later[:600]) // a place is taken; the turn will be
	require.NoError(t, err)
	p, err := s.Extract(t.Context(), bytes.NewReader(small), nil)
	require.NoError(t, err)
	require.NoError(t, p.Discard())
	_, err = w.Write(later[600:])
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, <-first)
	whole := 0
	for _, stream := range [][]byte{large, later, small, large} {
		id, err := s.DiffID(t.Context(), bytes.NewReader(stream), &ExtractOptions{Whole: func() error {
			require.Empty(t, s.decoders.turn)
			require.Empty(t, s.decoders.place)
			whole++
			return nil
		}})
		require.NoError(t, err)
		require.Equal(t, p.DiffID, id)
	}
	require.Equal(t, 3, whole)
	_, err = s.DiffID(t.Context(), bytes.NewReader(large), &ExtractOptions{Whole: func() error { return io.ErrNoProgress }})
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.Empty(t, s.decoders.turn)
	require.Zero(t, s.decoders.active)
	require.Empty(t, s.decoders.place)
	requireNoTemp(t, s)
}

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}
