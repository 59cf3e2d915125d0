package image

import (
	"cmp"
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

	// ByImage has the images one by one, in the order of index.json.
	ByImage []ImageUsage
}

// An ImageUsage is what of Blobs and Layers an image needs, all its platforms together.
type ImageUsage struct {
	*Image

	// Shared is what other images need, too; Unique is what goes when the image does.
	Shared, Unique int64
}

// A sharing counts how many images need each blob and layer, and what those take.
type sharing struct {
	images []*Image
	needs  []*reach
	users  map[digest.Digest]int // of blobs, and their sizes
	sizes  map[digest.Digest]int64
	layers map[digest.Digest]int // the same of layers: a blob that is not compressed has its layer's digest
	trees  map[digest.Digest]int64
}

func newSharing() *sharing {
	return &sharing{
		users: map[digest.Digest]int{}, layers: map[digest.Digest]int{}, sizes: map[digest.Digest]int64{}, trees: map[digest.Digest]int64{},
	}
}

func (h *sharing) add(s *Store, i *Image) {
	r := s.newReach()
	r.add(i.target)
	h.images, h.needs = append(h.images, i), append(h.needs, r)
	for d := range r.blobs {
		h.users[d]++
	}
	for d := range r.layers {
		h.layers[d]++
	}
}

func (h *sharing) list() []ImageUsage {
	list := make([]ImageUsage, len(h.images))
	for n, i := range h.images {
		u := ImageUsage{Image: i}
		add := func(users int, size int64) {
			if users > 1 {
				u.Shared += size
			} else {
				u.Unique += size
			}
		}
		for d := range h.needs[n].blobs {
			add(h.users[d], h.sizes[d])
		}
		for d := range h.needs[n].layers {
			add(h.layers[d], h.trees[d])
		}
		list[n] = u
	}
	return list
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
	counted, shared := map[digest.Digest]bool{}, newSharing()
	for _, i := range s.all(x) {
		if counted[i.Digest] {
			continue
		}
		counted[i.Digest] = true
		u.Images++
		shared.add(s, i)
		if held.images[i.ID] || inUse != nil && inUse(i) != "" {
			u.Active++
			active.add(i.target)
		}
	}
	var meter diskusage.Meter
	err = s.eachBlob(func(d digest.Digest, path string) error {
		n, err := meter.Tree(ctx, path)
		u.Blobs += n
		shared.sizes[d] = n
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
		n, err := meter.Tree(ctx, filepath.Dir(cmp.Or(l.Dir, l.Image)))
		if err != nil {
			return nil, err
		}
		u.Layers += n
		shared.trees[l.DiffID] = n
		if !active.layers[l.DiffID] && !held.layers[l.DiffID] {
			u.Reclaimable += n
		}
	}
	u.ByImage = shared.list()
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
