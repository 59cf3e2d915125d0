package image

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteOut: what is received is synced meanwhile, never by more than two at once, and not at all when it is little.
func TestWriteOut(t *testing.T) {
	(*writeOut)(nil).add(writeOutEvery)
	var syncs, under atomic.Int32
	w := newWriteOut(100*writeOutEvery, func() error {
		if under.Add(1) > writeOutSyncs {
			t.Error("too many at once")
		}
		defer under.Add(-1)
		syncs.Add(1)
		return nil
	})
	w.add(writeOutEvery - 1)
	require.Empty(t, w.wake)
	require.Zero(t, syncs.Load())
	for range 10 {
		w.add(writeOutEvery)
	}
	w.close()
	require.Positive(t, syncs.Load())
	require.LessOrEqual(t, syncs.Load(), int32(10))
	require.Zero(t, under.Load())
}

// TestWriteOutEnd: towards the end less and less is between two syncs; more than was to come does no harm.
func TestWriteOutEnd(t *testing.T) {
	w := &writeOut{wake: make(chan struct{}, 1), left: 4 * writeOutEvery}
	w.plan()
	var at []int64
	for left := w.left; left > -2*writeOutLeast; left -= 1 << 10 {
		w.add(1 << 10)
		select {
		case <-w.wake:
			at = append(at, w.left>>10)
		default:
		}
	}
	require.Equal(t, []int64{24576, 16384, 8192, 4096, 2048, 1024, 512, 256, 0, -256, -512}, at)
}
