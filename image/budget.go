package image

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// used notes that an image is used now: the time is that of its manifest's file.
func (s *Store) used(manifest digest.Digest) {
	now := time.Now()
	_ = os.Chtimes(s.blobPath(manifest), now, now) // of an image that is gone, or on a read-only disk
}

// LastUsed returns when an image was last pulled or held, or when it came into the store. The zero time says that it is
// gone.
func (s *Store) LastUsed(i *Image) time.Time {
	fi, err := os.Stat(s.blobPath(i.Manifest))
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// Usage returns what the blobs and the extracted layers take, in bytes: the files' sizes, and the disk's blocks of the
// layers.
func (s *Store) Usage() (int64, error) {
	var sum int64
	err := s.eachBlob(func(_ digest.Digest, path string) error {
		fi, err := os.Lstat(path)
		if err == nil {
			sum += fi.Size()
		}
		return nil
	})
	layers, lerr := s.layers.List()
	for _, l := range layers {
		sum += l.Usage
	}
	return sum, errors.Join(err, lerr)
}

// shrink deletes images until the budget is kept, or all that are left are in use.
func (del *deletion) shrink(ctx context.Context, o *PruneOptions) error {
	s := del.s
	sum, err := s.Usage()
	if err != nil || sum <= o.Budget {
		return err
	}
	all := *o
	all.Unused, all.BuildCache = true, true
	list, err := del.candidates(ctx, &all)
	if err != nil {
		return err
	}
	at := map[digest.Digest]time.Time{}
	for _, e := range list {
		images, _ := s.loadTarget(e) // of what is damaged there is no time: it goes first
		for _, i := range images {
			if t := s.LastUsed(i); t.After(at[e.Digest]) {
				at[e.Digest] = t
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ocispec.Descriptor) int { return at[a.Digest].Compare(at[b.Digest]) })
	by := names(del.index)
	for _, e := range list {
		if sum <= o.Budget {
			return nil
		}
		before := del.done.Bytes
		if err := del.targets(ctx, []ocispec.Descriptor{e}); err != nil {
			return err
		}
		del.done.Untagged = append(del.done.Untagged, by[e.Digest]...)
		sum -= del.done.Bytes - before
	}
	return nil
}

// candidates are the images that may go, once each.
func (del *deletion) candidates(ctx context.Context, o *PruneOptions) ([]ocispec.Descriptor, error) {
	untagged := len(del.done.Untagged)
	list, err := del.unwanted(ctx, o)
	del.done.Untagged = del.done.Untagged[:untagged] // that is said of each when it goes
	return list, err
}
