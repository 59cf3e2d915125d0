package image

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteOut: what is received and extracted is synced meanwhile, never by more than one at once, and not at all when it is little.
func TestWriteOut(t *testing.T) {
	(*writeOut)(nil).receive(writeOutEvery)
	(*writeOut)(nil).extract(writeOutEvery)
	var syncs, under atomic.Int32
	w := newWriteOut(100*writeOutEvery, func() error {
		if under.Add(1) > 1 {
			t.Error("too many at once")
		}
		defer under.Add(-1)
		syncs.Add(1)
		return nil
	})
	w.receive(writeOutEvery / 2)
	w.extract(writeOutEvery/2 - 1)
	require.Empty(t, w.wake)
	require.Zero(t, syncs.Load())
	for range 10 {
		w.extract(writeOutEvery)
	}
	w.stop()
	w.wait()
	require.LessOrEqual(t, syncs.Load(), int32(10))
	require.Zero(t, under.Load())
}

// TestWriteOutStop: the sync that all wait for is not kept waiting by one that was to begin, only joined by the one under way.
func TestWriteOutStop(t *testing.T) {
	begun, end := make(chan bool), make(chan bool)
	w := newWriteOut(100*writeOutEvery, func() error { begun <- true; <-end; return nil })
	w.extract(writeOutEvery)
	<-begun
	w.extract(writeOutEvery)
	require.Len(t, w.wake, 1)
	w.stop()
	close(end)
	w.wait() // a further one would wait at begun
}

// TestWriteOutEnd: towards the end less and less is between two syncs, measured by what the bytes become; more than was to come does no
// harm.
func TestWriteOutEnd(t *testing.T) {
	at := func(grown int) (at []int64) {
		w := &writeOut{wake: make(chan struct{}, 1), left: 4 * writeOutEvery}
		w.plan()
		for w.left > -2*writeOutLeast {
			w.receive(1 << 10)
			w.extract(grown << 10)
			select {
			case <-w.wake:
				at = append(at, w.left>>10)
			default:
			}
		}
		return at
	}
	require.Equal(t, []int64{196608, 131072, 65536, 32768, 16384, 8192, 4096, 2048, 1024, 0, -1024, -2048}, at(0))
	eight := at(7)
	require.Equal(t, []int64{253952, 245760, 237568}, eight[:3])
	i := slices.Index(eight, 8192)
	require.Equal(t, []int64{8192, 4096, 2048, 1024, 512, 256, 128, 0, -128}, eight[i:i+9])
}
