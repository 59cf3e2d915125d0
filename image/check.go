package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// CheckOptions are the options of [Store.Check].
type CheckOptions struct {
	// Deep reads every blob and compares it with its digest. Without it manifests and configurations are compared, and
	// of layers the sizes.
	Deep bool

	// Unreferenced also reports blobs and layers that no image and no running pull or holder needs: what Prune deletes.
	Unreferenced bool
}

// Check verifies that everything is there that index.json leads to, and that the extracted layers are whole (see
// layer.Store.Check). All that is wrong is in the error, which is nil when nothing is, and else ErrCorrupt. Manifests
// of an index that were not pulled, and layers that are not extracted yet, are not wrong.
func (s *Store) Check(ctx context.Context, o *CheckOptions) error {
	if o == nil {
		o = &CheckOptions{}
	}
	r := s.newReach()
	err := s.check(ctx, o, r)
	if lerr := s.layers.Check(ctx); ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	} else if lerr != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrCorrupt, lerr))
	}
	if err = errors.Join(append(r.errs, err)...); err != nil {
		return fmt.Errorf("check images: %w", err)
	}
	return nil
}

func (s *Store) check(ctx context.Context, o *CheckOptions, r *reach) (err error) {
	var l *lease
	err = s.locked(ctx, func() error {
		x, err := s.readIndex()
		if err != nil {
			return err
		}
		for _, e := range x.Manifests {
			r.add(e)
		}
		if o.Unreferenced {
			if err := s.unreferenced(r); err != nil {
				return err
			}
		}
		if o.Deep {
			l, err = s.leaseLocked(leaseFile{Blobs: r.order})
		}
		return err
	})
	if l == nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	for _, d := range r.order { // not under the lock: it takes long
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.verifyBlob(ctx, d); err != nil {
			r.problem("%w", err)
		}
	}
	return err
}

// verifyBlob compares a blob with its digest.
func (s *Store) verifyBlob(ctx context.Context, d digest.Digest) error {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	v := d.Verifier()
	if _, err := io.Copy(v, &ctxReader{ctx, f}); err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	if !v.Verified() {
		return fmt.Errorf("blob %s: content has another digest", d)
	}
	return nil
}

func (s *Store) unreferenced(r *reach) error {
	used, err := s.leased()
	if err != nil {
		return err
	}
	err = s.eachBlob(func(d digest.Digest, _ string) error {
		if _, ok := r.blobs[d]; !ok && !used.blobs[d] {
			r.problem("blob %s: nothing leads to it", d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	list, err := s.layers.List()
	if err != nil {
		return err
	}
	for _, l := range list {
		if !r.layers[l.DiffID] && !used.layers[l.DiffID] {
			r.problem("layer %s: no image has it", l.DiffID)
		}
	}
	return nil
}

// A ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
