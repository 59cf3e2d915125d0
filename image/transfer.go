package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// do brings in one layer.
func (f *fetcher) do(ctx context.Context, w *work) error {
	if w.in.file == nil {
		if f.present(w.blob, w.diffID) {
			return nil // by another process
		}
		return f.extractStored(ctx, w)
	}
	if f.client == nil {
		return fmt.Errorf("%w: its blob is missing", ErrCorrupt)
	}
	had, err := w.in.have()
	if err != nil {
		return err
	}
	err = f.transfer(ctx, w, had)
	if err != nil && !w.keep && had > 0 && ctx.Err() == nil && !errors.Is(err, syscall.ENOSPC) {
		// What was there from before may be what is wrong: a loss of power can leave anything in it.
		if err = w.in.restart(); err == nil {
			err = f.transfer(ctx, w, 0)
		}
	}
	return err
}

// transfer takes in the blob and extracts it, in one pass: bytes from the registry go to the file and to extraction, or,
// when the store has the layer, only to where its digest is computed. The first had bytes are in the file already.
func (f *fetcher) transfer(ctx context.Context, w *work, had int64) error {
	head := io.NewSectionReader(w.in.file, 0, had)
	remote, err := openRemote(ctx, f.client, f.ref, blobPart{w.blob, head})
	if err != nil {
		w.keep = had > 0
		return err
	}
	src := &source{r: remote, file: w.in.file, skip: had, out: f.out}
	src.meter = meter{p: f.progress, event: Event{Kind: Downloading, Digest: w.blob.Digest, Total: w.blob.Size}}
	_, missing := f.s.layers.Get(w.diffID)
	o := f.extractOptions(w)
	o.Whole = src.fetch
	if missing != nil {
		w.pending, err = f.s.layers.Extract(ctx, src, o)
	} else {
		_, err = f.s.layers.DiffID(ctx, src, o)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, src) // what follows the compressed stream; and the end verifies the whole
	}
	err = errors.Join(err, remote.Close())
	w.keep = worthKeeping(ctx, src, w.blob.Size)
	if err != nil {
		return explain(src, err)
	}
	w.whole = true
	f.progress.send(Event{Kind: DownloadComplete, Digest: w.blob.Digest})
	if missing != nil {
		f.progress.send(Event{Kind: Extracting, Digest: w.blob.Digest, Current: w.blob.Size, Total: w.blob.Size})
	}
	return nil
}

// worthKeeping says whether what was received may be a right beginning: when it was the connection that broke, or we
// who gave up, not when the bytes were wrong or did not fit on the disk.
func worthKeeping(ctx context.Context, src *source, size int64) bool {
	if src.writeErr != nil {
		return false
	}
	return src.readErr != nil && src.at < size || ctx.Err() != nil
}

// explain puts the source's own error first, of which extraction saw only the consequences.
func explain(src *source, err error) error {
	switch {
	case src.writeErr != nil:
		return fmt.Errorf("write blob: %w", src.writeErr)
	case src.readErr != nil:
		return src.readErr
	}
	return err
}

// A source reads a blob, and writes what is new of it into a file.
type source struct {
	mu   sync.Mutex
	r    io.Reader
	file interface {
		io.ReaderAt
		io.WriterAt
	}
	whole bool  // in the file, which r is then
	skip  int64 // bytes that the file has already
	at    int64
	meter meter
	out   *writeOut

	readErr, writeErr error // the first, but for io.EOF
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(p)
}

// fetch takes in what is left, which is then read from the file.
func (s *source) fetch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, b := s.at, make([]byte, 128<<10)
	for !s.whole {
		switch _, err := s.read(b); err {
		case nil:
		case io.EOF:
			s.r, s.at, s.whole = io.NewSectionReader(s.file, from, s.at-from), from, true
		default:
			return err
		}
	}
	return nil
}

func (s *source) read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.whole {
		s.at += int64(n)
		return n, err
	}
	if err != nil && err != io.EOF {
		s.readErr = err
	}
	if fresh := s.at + int64(n) - s.skip; fresh > 0 {
		from := max(0, int64(n)-fresh)
		if _, werr := s.file.WriteAt(p[from:n], s.at+from); werr != nil {
			s.writeErr = werr
			return 0, werr
		}
	}
	s.at += int64(n)
	s.meter.add(n)
	s.out.receive(n)
	return n, err
}

// readAll reads exactly size bytes to the end.
func readAll(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	var one [1]byte
	if n, err := r.Read(one[:]); err != io.EOF || n > 0 {
		if err == nil {
			err = errors.New("more bytes than there should be")
		}
		return nil, err
	}
	return b, nil
}
