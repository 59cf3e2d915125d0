package image

import "sync"

// How many bytes are to be written between two syncs, those of blobs and those that are extracted of them. Towards the end it is half of
// what is left, so that little is to be written at the sync before the layers get their names, for which everything waits.
const (
	writeOutEvery = 64 << 20
	writeOutLeast = 1 << 20
)

// A writeOut has the kernel write to the disk while blobs are received and extracted. Left alone it keeps gigabytes in
// memory, and the disk begins when the processors have nothing to do any more, at the sync before the layers get their
// names.
type writeOut struct {
	sync    func() error
	wake    chan struct{}
	syncing sync.WaitGroup

	mu        sync.Mutex
	left      int64 // bytes of blobs to receive
	received  int64
	extracted int64 // of those received
	since     int64 // the last sync, bytes to be written
	next      int64 // sync when since is this
}

// newWriteOut calls sync while blobs of size bytes are received and extracted.
func newWriteOut(size int64, sync func() error) *writeOut {
	w := &writeOut{sync: sync, wake: make(chan struct{}, 1), left: size}
	w.plan()
	w.syncing.Go(func() {
		for range w.wake {
			_ = w.sync() // the sync at the end reports what cannot be written
		}
	})
	return w
}

// receive counts n bytes of a blob.
func (w *writeOut) receive(n int) { w.add(n, 0) }

// extract counts n bytes that were extracted.
func (w *writeOut) extract(n int) { w.add(0, n) }

func (w *writeOut) add(received, extracted int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left -= int64(received)
	w.received += int64(received)
	w.extracted += int64(extracted)
	if w.since += int64(received + extracted); w.since < w.next {
		return
	}
	w.plan()
	select {
	case w.wake <- struct{}{}:
	default: // the disk is behind
	}
}

// plan says when the next sync is. What is still to come is taken to become as large as what came did.
func (w *writeOut) plan() {
	rest := w.left
	if w.received > 0 {
		rest += int64(float64(w.left) * float64(w.extracted) / float64(w.received))
	}
	w.since, w.next = 0, max(writeOutLeast, min(writeOutEvery, rest/2))
}

// stop begins no further sync. Nothing is added after it.
func (w *writeOut) stop() {
	select {
	case <-w.wake: // the sync that follows does all that this one would have
	default:
	}
	close(w.wake)
}

// wait waits for the one under way.
func (w *writeOut) wait() { w.syncing.Wait() }
