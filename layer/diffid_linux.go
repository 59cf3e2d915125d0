package layer

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// DiffID reads a layer's tar stream to its end, plain or compressed, and returns the digest of the uncompressed stream,
// without writing anything. Streams with large windows take turns with those that are extracted. It computes it by the algorithm of o.DiffID, or SHA-256, and returns ErrDigest, wrapped, if
// that is set and another one. The bounds of o on the stream hold, those on its entries do not. ctx is as for Extract.
func (s *Store) DiffID(ctx context.Context, r io.Reader, o *ExtractOptions) (digest.Digest, error) {
	d, err := s.diffID(ctx, r, o.withDefaults())
	if err != nil {
		return "", fmt.Errorf("digest of layer: %w", err)
	}
	return d, nil
}

func (s *Store) diffID(ctx context.Context, r io.Reader, o ExtractOptions) (d digest.Digest, err error) {
	want, err := declared(o.MediaType)
	if err != nil {
		return "", err
	}
	algorithm := digest.Canonical
	if o.DiffID != "" {
		if err := o.DiffID.Validate(); err != nil {
			return "", fmt.Errorf("diffID %q: %w", o.DiffID, err)
		}
		algorithm = o.DiffID.Algorithm()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := flow{ctx: ctx, cancel: cancel, options: o, want: want, decoders: s.decoders, sums: s.sums}
	r, is, err := sniff(r, want)
	if err != nil {
		return "", err
	}
	var stages sync.WaitGroup
	defer stages.Wait()
	hash := algorithm.Hash()
	sum := f.sums.open(hash)
	f.feed(&stages, r, is, sum)
	if err := sum.compute(); err != nil {
		cancel(err)
		return "", err
	}
	d = digest.NewDigest(algorithm, hash)
	if o.DiffID != "" && d != o.DiffID {
		return "", fmt.Errorf("%w: it is %s, not %s", ErrDigest, d, o.DiffID)
	}
	return d, nil
}
