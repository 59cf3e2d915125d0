package image

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteOut: what is received is synced meanwhile, never by two at once, and not at all when it is little.
func TestWriteOut(t *testing.T) {
	(*writeOut)(nil).add(writeOutEvery)
	var syncs, under atomic.Int32
	w := newWriteOut(func() error {
		if under.Add(1) > 1 {
			t.Error("two at once")
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
