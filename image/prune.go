package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PruneOptions are the options of [Store.Prune].
type PruneOptions struct {
	// Untagged deletes the images that have lost their names, too.
	Untagged bool

	// Unused deletes all images that are not in use, too, whatever names they have.
	Unused bool

	// BuildCache deletes the images that are nothing but steps of builds, which Untagged and Unused leave alone.
	BuildCache bool

	// Budget, in bytes, deletes images that are not in use, too, whatever names they have: the one that was used longest
	// ago first (pulled, or held for a container), until blobs and extracted layers take no more than this. 0 means that
	// there is no budget.
	Budget int64

	// Filter chooses among the images that Untagged, Unused and Budget would delete. nil chooses all.
	Filter *Filter

	// InUse is as RemoveOptions.InUse: an image for which it answers is kept.
	InUse func(*Image) string

	// KeepNewer keeps blobs that nothing leads to when they are younger than this: another program, such as skopeo,
	// which knows no leases, may be about to name them. 0 means that they are deleted.
	KeepNewer time.Duration
}

// Prune deletes blobs and layers that no image needs, and what was left of pulls that were cut off, and images if asked
// to. What pulls under way or holders use stays. It does nothing, and returns ErrCorrupt, while an image of the store
// is damaged, for then what that needs is not known.
func (s *Store) Prune(ctx context.Context, o *PruneOptions) (*Removed, error) {
	if o == nil {
		o = &PruneOptions{}
	}
	del := &deletion{s: s}
	if err := del.locked(ctx, func() error { return del.prune(ctx, o) }); err != nil {
		return nil, fmt.Errorf("prune images: %w", err)
	}
	return &del.done, nil
}

func (del *deletion) prune(ctx context.Context, o *PruneOptions) error {
	s := del.s
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	del.index = x
	alive := s.newReach()
	for _, e := range x.Manifests {
		alive.add(e)
	}
	if len(alive.errs) > 0 {
		return errors.Join(alive.errs...)
	}
	gone, err := del.unwanted(ctx, o)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := del.targets(ctx, gone); err != nil {
			return err
		}
		alive = s.newReach()
		for _, e := range x.Manifests {
			alive.add(e)
		}
	}
	used, err := s.leased()
	if err != nil {
		return err
	}
	err = errors.Join(del.strayBlobs(alive, used, o.KeepNewer), del.strayLayers(ctx, alive, used),
		s.sweepLocked(0), s.sweepForeign())
	if err != nil || o.Budget <= 0 {
		return err
	}
	return del.shrink(ctx, o)
}

// unwanted chooses the images that go.
func (del *deletion) unwanted(ctx context.Context, o *PruneOptions) (gone []ocispec.Descriptor, err error) {
	by, steps := names(del.index), hidden(del.index)
	var chosen *matcher
	if o.Filter != nil {
		if chosen, err = del.s.matcher(ctx, o.Filter); err != nil {
			return nil, err
		}
	}
	for _, e := range del.index.Manifests {
		wanted := !o.Unused && (!o.Untagged || len(by[e.Digest]) > 0)
		if steps[e.Digest] {
			wanted = !o.BuildCache
		}
		if wanted || containsDigest(gone, e.Digest) {
			continue
		}
		if chosen != nil && !del.matches(chosen, e, by[e.Digest]) {
			continue
		}
		used, err := del.s.usedBy([]ocispec.Descriptor{e}, o.InUse)
		if err != nil {
			return nil, err
		}
		if used == "" {
			gone = append(gone, e)
			del.done.Untagged = append(del.done.Untagged, by[e.Digest]...)
		}
	}
	return gone, nil
}

// matches says whether a filter chooses one of the images that an entry leads to.
func (del *deletion) matches(m *matcher, e ocispec.Descriptor, names []string) bool {
	list, err := del.s.loadTarget(e)
	return err == nil && slices.ContainsFunc(list, func(i *Image) bool {
		i.Names = names
		return m.match(i.Summary())
	})
}

func (del *deletion) strayBlobs(alive *reach, used leases, keep time.Duration) error {
	return del.s.eachBlob(func(d digest.Digest, path string) error {
		if _, ok := alive.blobs[d]; ok || used.blobs[d] {
			return nil
		}
		fi, err := os.Lstat(path)
		if err != nil || keep > 0 && time.Since(fi.ModTime()) < keep {
			return nil
		}
		return del.blob(d)
	})
}

func (del *deletion) strayLayers(ctx context.Context, alive *reach, used leases) error {
	list, err := del.s.layers.List()
	for _, l := range list {
		if !alive.layers[l.DiffID] && !used.layers[l.DiffID] {
			err = errors.Join(err, del.layer(ctx, l.DiffID))
		}
	}
	return err
}

// sweepForeign deletes what a skopeo that was killed left of its blobs, when it is old.
func (s *Store) sweepForeign() error {
	list, err := filepath.Glob(s.path("oci-put-blob*"))
	for _, f := range list {
		if fi, e := os.Lstat(f); e == nil && fi.Mode().IsRegular() && time.Since(fi.ModTime()) > partialAge {
			err = errors.Join(err, removeIfThere(f))
		}
	}
	return err
}

// eachBlob calls f for every blob in the folder. Files that are no blobs by their name are passed over.
func (s *Store) eachBlob(f func(d digest.Digest, path string) error) error {
	algorithms, err := os.ReadDir(s.path(ocispec.ImageBlobsDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range algorithms {
		list, err := os.ReadDir(s.path(ocispec.ImageBlobsDir, a.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range list {
			d := digest.Digest(a.Name() + ":" + e.Name())
			if strings.HasPrefix(e.Name(), ".") || d.Validate() != nil {
				continue
			}
			errs = append(errs, f(d, s.blobPath(d)))
		}
	}
	return errors.Join(errs...)
}
