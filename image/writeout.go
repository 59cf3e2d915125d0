package image

import "sync"

// How many bytes of blobs are received between two syncs: with what is extracted of them, some 30 MB are to be written then. Towards
// the end it is half of what is left, so that little is to be written at the sync before the layers get their names, for which
// everything waits.
const (
	writeOutEvery = 8 << 20
	writeOutLeast = 256 << 10
	writeOutSyncs = 2 // at a time: while one waits for the disk and the journal, the next looks for what is to be written
)

// A writeOut has the kernel write to the disk while blobs are received and extracted. Left alone it keeps gigabytes in
// memory, and the disk begins when the processors have nothing to do any more, at the sync before the layers get their
// names.
type writeOut struct {
	sync    func() error
	wake    chan struct{}
	syncing sync.WaitGroup

	mu    sync.Mutex
	left  int64 // bytes to receive
	until int64 // how many are left at the next sync
}

// newWriteOut calls sync while size bytes are received.
func newWriteOut(size int64, sync func() error) *writeOut {
	w := &writeOut{sync: sync, wake: make(chan struct{}, 1), left: size}
	w.plan()
	for range writeOutSyncs {
		w.syncing.Go(func() {
			for range w.wake {
				_ = w.sync() // the sync at the end reports what cannot be written
			}
		})
	}
	return w
}

// add counts n bytes received.
func (w *writeOut) add(n int) {
	if w == nil || n <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left -= int64(n); w.left > w.until {
		return
	}
	w.plan()
	select {
	case w.wake <- struct{}{}:
	default: // the disk is behind
	}
}

// plan says when the next sync is.
func (w *writeOut) plan() { w.until = w.left - max(writeOutLeast, min(writeOutEvery, w.left/2)) }

// close ends it, when nothing adds to it any more.
func (w *writeOut) close() {
	close(w.wake)
	w.syncing.Wait()
}
