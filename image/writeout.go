package image

import (
	"sync"
	"sync/atomic"
)

// writeOutEvery is how many bytes of blobs are received between two syncs: with what is extracted of them, some 30 MB are to be
// written then.
const writeOutEvery = 8 << 20

// A writeOut has the kernel write to the disk while blobs are received and extracted. Left alone it keeps gigabytes in
// memory, and the disk begins when the processors have nothing to do any more, at the sync before the layers get their
// names.
type writeOut struct {
	sync     func() error
	received atomic.Int64
	wake     chan struct{}
	syncing  sync.WaitGroup
}

func newWriteOut(sync func() error) *writeOut {
	w := &writeOut{sync: sync, wake: make(chan struct{}, 1)}
	w.syncing.Go(func() {
		for range w.wake {
			_ = w.sync() // the sync at the end reports what cannot be written
		}
	})
	return w
}

// add counts n bytes received.
func (w *writeOut) add(n int) {
	if w == nil || n <= 0 {
		return
	}
	if now := w.received.Add(int64(n)); now/writeOutEvery > (now-int64(n))/writeOutEvery {
		select {
		case w.wake <- struct{}{}:
		default: // the disk is behind
		}
	}
}

// close ends it, when nothing adds to it any more.
func (w *writeOut) close() {
	close(w.wake)
	w.syncing.Wait()
}
