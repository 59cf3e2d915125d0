package image

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
)

// A deletion takes targets out of index.json and deletes what only they led to; the store's lock must be held. The files
// of layers are only taken out of the store meanwhile: locked deletes them, when others may use the store again.
type deletion struct {
	s        *Store
	index    *ocispec.Index
	done     Removed
	unlinked []*layer.Unlinked
	spent    bool // the reserve is given up
}

// locked runs f under the store's lock, then deletes the layers that it unlinked.
func (del *deletion) locked(ctx context.Context, f func() error) error {
	err := del.s.locked(ctx, f)
	for _, u := range del.unlinked {
		err = errors.Join(err, u.Delete())
	}
	if del.spent {
		del.s.makeReserve()
	}
	return err
}

// targets deletes targets: first the names, durably, then the content, so that a crash between leaves only what Prune
// deletes.
func (del *deletion) targets(ctx context.Context, gone []ocispec.Descriptor) error {
	s, x := del.s, del.index
	dead, alive := s.newReach(), s.newReach()
	for _, t := range gone {
		dead.add(t)
		list, _ := s.loadTarget(t) // of what is damaged there is no ID to tell
		for _, i := range list {
			if !slices.Contains(del.done.Deleted, i.ID) {
				del.done.Deleted, del.done.Images = append(del.done.Deleted, i.ID), append(del.done.Images, i.ID)
			}
		}
	}
	x.Manifests = slices.DeleteFunc(x.Manifests, func(d ocispec.Descriptor) bool {
		return containsDigest(gone, d.Digest)
	})
	for _, e := range x.Manifests {
		alive.add(e)
	}
	used, err := s.leased()
	if err != nil {
		return err
	}
	if err := del.writeIndex(); err != nil {
		return err
	}
	if len(alive.errs) > 0 {
		return nil // what the damaged images need is not known: nothing is deleted
	}
	var errs []error
	for _, d := range dead.order {
		if _, keep := alive.blobs[d]; !keep && !used.blobs[d] {
			errs = append(errs, del.blob(d))
		}
	}
	for _, d := range dead.diffs {
		if !alive.layers[d] && !used.layers[d] {
			errs = append(errs, del.layer(ctx, d))
		}
	}
	return errors.Join(errs...)
}

func (del *deletion) blob(d digest.Digest) error {
	f, err := del.s.OpenBlob(d)
	if err == nil {
		if fi, err := f.Stat(); err == nil {
			del.done.Bytes += fi.Size()
		}
		_ = f.Close()
	}
	return removeIfThere(del.s.blobPath(d))
}

func (del *deletion) layer(ctx context.Context, d digest.Digest) error {
	l, err := del.s.layers.Get(d)
	if errors.Is(err, layer.ErrNotFound) {
		return nil // it was not extracted
	}
	u, err := del.s.layers.Unlink(ctx, d)
	if err != nil {
		return err
	}
	del.unlinked = append(del.unlinked, u)
	del.done.Deleted = append(del.done.Deleted, d)
	del.done.Bytes += l.Usage
	return nil
}
