package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/diskusage"
)

// A DiskUsage is what a store takes on disk, in bytes, as du(1) counts.
type DiskUsage struct {
	// Images is the number of images, Active of those that InUse answers for or that somebody holds.
	Images, Active int

	// Blobs, Layers and Unfinished are what images are made of: blobs as they came, layers as they are extracted with
	// what mounts of them need, and pulls, loads and the like that are under way or were cut off.
	Blobs, Layers, Unfinished int64

	// Other is what keeps the rest together: folders, index.json, locks.
	Other int64

	// Reclaimable is that part of Blobs and Layers that no active image needs.
	Reclaimable int64
}

// Total is all of it: what du says of the store's two folders.
func (u *DiskUsage) Total() int64 { return u.Blobs + u.Layers + u.Unfinished + u.Other }

// DiskUsage measures what the store takes. It looks at every file, and takes no lock: what changes meanwhile may be counted
// as it was or as it is. inUse is as RemoveOptions.InUse; nil is nobody.
func (s *Store) DiskUsage(ctx context.Context, inUse func(*Image) string) (*DiskUsage, error) {
	u, err := s.diskUsage(ctx, inUse)
	if err != nil {
		return nil, fmt.Errorf("disk usage of images: %w", err)
	}
	return u, nil
}

func (s *Store) diskUsage(ctx context.Context, inUse func(*Image) string) (*DiskUsage, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	held, err := s.leasedUnlocked()
	if err != nil {
		return nil, err
	}
	u, active := &DiskUsage{}, s.newReach()
	counted := map[digest.Digest]bool{}
	for _, i := range s.all(x) {
		if counted[i.Digest] {
			continue
		}
		counted[i.Digest] = true
		u.Images++
		if held.images[i.ID] || inUse != nil && inUse(i) != "" {
			u.Active++
			active.add(i.target)
		}
	}
	var meter diskusage.Meter
	err = s.eachBlob(func(d digest.Digest, path string) error {
		n, err := meter.Tree(ctx, path)
		u.Blobs += n
		if _, ok := active.blobs[d]; !ok && !held.blobs[d] {
			u.Reclaimable += n
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	layers, err := s.layers.List()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		n, err := meter.Tree(ctx, filepath.Dir(l.Dir))
		if err != nil {
			return nil, err
		}
		u.Layers += n
		if !active.layers[l.DiffID] && !held.layers[l.DiffID] {
			u.Reclaimable += n
		}
	}
	for path, sum := range map[string]*int64{
		filepath.Join(s.layers.Dir(), "chains"): &u.Layers,
		filepath.Join(s.layers.Dir(), "tmp"):    &u.Unfinished, s.path("tmp"): &u.Unfinished,
		s.path(uploadsName): &u.Unfinished, s.path(pushedName): &u.Unfinished,
	} {
		n, err := meter.Tree(ctx, path)
		if err != nil {
			return nil, err
		}
		*sum += n
	}
	var all diskusage.Meter
	images, err := all.Tree(ctx, s.dir)
	extracted, err2 := all.Tree(ctx, s.layers.Dir())
	u.Other = max(0, images+extracted-u.Blobs-u.Layers-u.Unfinished)
	return u, errors.Join(err, err2)
}
