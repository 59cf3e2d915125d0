package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/layer"
)

// unpack extracts the layers of an image whose blobs are in the store.
func (s *Store) unpack(ctx context.Context, img *Image) error { return s.unpackLimited(ctx, img, nil) }

func (s *Store) unpackLimited(ctx context.Context, img *Image, limits *layer.ExtractOptions) error {
	l, err := s.lease(ctx, (&pull{chain: []document{{desc: img.target}}}).leaseFile(img))
	if err != nil {
		return err
	}
	f := &fetcher{s: s, parallel: defaultParallel, progress: &progress{}, limits: limits}
	_, err = f.fetch(ctx, img)
	if err == nil && !s.fillLayers(img) {
		err = fmt.Errorf("%w: a layer is gone", ErrCorrupt)
	}
	return errors.Join(err, l.release())
}

// extractStored extracts a layer whose blob is in the store, and verifies the blob on the way: another program may have
// put it there.
func (f *fetcher) extractStored(ctx context.Context, w *work) error {
	file, err := f.s.OpenBlob(w.blob.Digest)
	if err != nil {
		return err
	}
	defer file.Close()
	src := &verifier{r: file, digest: w.blob.Digest, sum: w.blob.Digest.Verifier(), out: f.out}
	src.meter = meter{p: f.progress, event: Event{Kind: Extracting, Digest: w.blob.Digest, Total: w.blob.Size}}
	p, err := f.s.layers.Extract(ctx, src, f.extractOptions(w))
	if err != nil {
		return err
	}
	w.pending = p
	_, err = io.Copy(io.Discard, src)
	return err
}

// A verifier reads a blob; its end is an error when the digest was wrong.
type verifier struct {
	r      io.Reader
	digest digest.Digest
	sum    digest.Verifier
	meter  meter
	out    *writeOut
}

// Read implements io.Reader.
func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	_, _ = v.sum.Write(p[:n])
	v.meter.add(n)
	v.out.receive(n)
	if err == io.EOF && !v.sum.Verified() {
		err = fmt.Errorf("%w: blob %s: content has another digest", ErrCorrupt, v.digest)
	}
	return n, err
}
