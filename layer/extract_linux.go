package layer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/kernel"
)

// A Pending is a layer that was extracted and is not in the store yet: [Store.Commit] puts it there. It is for one
// goroutine at a time.
type Pending struct {
	// DiffID is the digest of the uncompressed stream, as computed.
	DiffID digest.Digest
	// Size is as [Layer]'s.
	Size int64

	record record
	temp   *temp
}

// Discard deletes the layer, unless it was committed. Further calls do nothing.
func (p *Pending) Discard() error {
	if err := p.temp.remove(); err != nil {
		return fmt.Errorf("discard layer %s: %w", p.DiffID, err)
	}
	return nil
}

// Extract reads a layer's tar stream to its end, plain or compressed, and writes its files into a folder of their own.
// Nothing is durable, and nothing in the store, before Commit. When it fails, nothing is left on disk. ctx bounds all
// of it, except for a Read of r that waits: r must end with ctx too. r is not read after Extract returned.
//
// Errors that satisfy errors.Is: ErrDigest, ErrLimit, errors.ErrUnsupported for a media type, a compression or a type
// of entry that is not known; an *EntryError says which entry it is about.
func (s *Store) Extract(ctx context.Context, r io.Reader, o *ExtractOptions) (*Pending, error) {
	p, err := s.extract(ctx, r, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("extract layer: %w", err)
	}
	return p, nil
}

func (s *Store) extract(ctx context.Context, r io.Reader, o ExtractOptions) (_ *Pending, err error) {
	want, err := declared(o.MediaType)
	if err != nil {
		return nil, err
	}
	algorithm := digest.Canonical
	if o.DiffID != "" {
		if err := o.DiffID.Validate(); err != nil {
			return nil, fmt.Errorf("diffID %q: %w", o.DiffID, err)
		}
		algorithm = o.DiffID.Algorithm()
	}
	t, err := newTemp(ctx, s.dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // the caller's reader, on its first bytes
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			err = errors.Join(err, t.remove())
		}
	}()
	content := filepath.Join(t.path, contentName)
	if err := os.Mkdir(content, impliedMode); err != nil {
		return nil, hint(err, "it takes root")
	}
	root, err := os.OpenFile(content, openDir, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWriter(ctx, int(root.Fd()), o)
	w.fault, w.making = s.fault, &s.making
	defer w.close()
	hasher := algorithm.Hash()
	f := flow{ctx: ctx, cancel: cancel, options: o, want: want, decoders: s.decoders, sums: s.sums}
	if err := f.run(r, hasher, w); err != nil {
		return nil, err
	}
	p := &Pending{DiffID: digest.NewDigest(algorithm, hasher), Size: w.size, temp: t}
	if o.DiffID != "" && p.DiffID != o.DiffID {
		return nil, fmt.Errorf("%w: it is %s, not %s", ErrDigest, p.DiffID, o.DiffID)
	}
	p.record = record{
		DiffID: p.DiffID, Size: w.size, Usage: w.usage, Names: w.names, Opaque: w.opaque, Boot: kernel.BootID(),
	}
	if s.format == EROFS {
		if err := s.pack(ctx, t.path, &p.record); err != nil {
			return nil, err
		}
	}
	return p, s.writeRecord(t.path, p.record, w.impliedPaths())
}

// writeRecord writes the files beside the content; Commit syncs them.
func (s *Store) writeRecord(dir string, r record, implied string) error {
	if implied != "" {
		if err := s.step("write implied"); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, impliedName), []byte(implied), 0o600); err != nil {
			return hint(err, "it takes root")
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := s.step("write record"); err != nil {
		return err
	}
	return hint(os.WriteFile(filepath.Join(dir, recordName), append(data, '\n'), 0o600), "it takes root")
}

// impliedPaths returns the paths of the folders without an entry, each ended by a NUL byte.
func (w *writer) impliedPaths() string {
	var b strings.Builder
	for _, f := range w.folders {
		if f.implied && !f.gone {
			b.WriteString(f.path)
			b.WriteByte(0)
		}
	}
	return b.String()
}

// A flow is the way of one stream: read, inflate, then digest and files side by side.
type flow struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	options ExtractOptions
	want    compression

	decoders *decoders // the store's
	sums     *sums     // likewise

	compressed atomic.Int64
	inflated   int64
}

func (f *flow) run(r io.Reader, h hash.Hash, w *writer) error {
	r, is, err := sniff(r, f.want)
	if err != nil {
		return err
	}
	var stages sync.WaitGroup
	defer stages.Wait()
	digest, files := f.sums.open(h), newStage(chunkQueue)
	f.feed(&stages, r, is, digest, files)
	var sumErr error
	stages.Go(func() { sumErr = digest.compute() })
	err = w.extract(files)
	if err == nil {
		err = files.discard() // what follows the end of the archive belongs to the diffID
	}
	if err != nil {
		f.cancel(err)
		return err
	}
	stages.Wait()
	return sumErr
}

// feed starts the stages that lead to those given.
func (f *flow) feed(stages *sync.WaitGroup, r io.Reader, is compression, out ...sink) {
	if is == plain {
		f.options.MaxRatio = 0
		stages.Go(func() { pump(f.ctx, r, f.countInflated, out...) })
		return
	}
	in := newStage(inputQueue)
	stages.Go(func() { pump(f.ctx, r, f.countCompressed, in) })
	stages.Go(func() { f.inflate(in, is, out...) })
}

func (f *flow) inflate(in *stage, is compression, out ...sink) {
	r, done, err := f.decoder(in, is)
	if err != nil {
		r, done = failed{err}, func() {}
	}
	defer done()
	pump(f.ctx, r, f.countInflated, out...)
}

func (f *flow) decoder(in *stage, is compression) (r io.Reader, done func(), err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", is, p)
		}
	}()
	r, done, err = f.decoders.inflate(f.ctx, input{in, is, f.options.MaxWindow, f.options.DiffID != "", f.options.Whole})
	if err != nil {
		err = fmt.Errorf("%s: %w", is, err)
	}
	return r, done, err
}

func (f *flow) countCompressed(n int) error {
	f.compressed.Add(int64(n))
	return nil
}

func (f *flow) countInflated(n int) error {
	f.inflated += int64(n)
	if f.options.Inflated != nil {
		f.options.Inflated(n)
	}
	if f.inflated > f.options.MaxSize {
		return fmt.Errorf("more than %d bytes: %w", f.options.MaxSize, ErrLimit)
	}
	if r := f.options.MaxRatio; r > 0 && f.inflated > ratioFree && f.inflated/r > f.compressed.Load() {
		return fmt.Errorf("more than %d bytes of each compressed one: %w", r, ErrLimit)
	}
	return nil
}

// failed is a reader that failed.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }
