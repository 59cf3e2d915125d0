package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// RemoveOptions are the options of [Store.Remove].
type RemoveOptions struct {
	// Force takes all of an image's names away when it is given by ID, be they in several repositories, and when the
	// image is in use takes its names away and leaves the rest, which Prune deletes when it no longer is.
	Force bool

	// InUse is asked before an image is deleted. An answer other than "", such as "container 0123456789ab", says who
	// uses it. It is called under the store's lock and must not call the store. nil means that nobody does, except who
	// holds the image by Hold.
	InUse func(*Image) string
}

// Removed is what Remove did, in the order in which Docker prints it.
type Removed struct {
	Untagged []string        // names that are gone, full ones
	Deleted  []digest.Digest // the images' IDs, then the diffIDs of the layers that no other image has, the topmost first
	Images   []digest.Digest // those of Deleted that are images' IDs
	Bytes    int64           // what was freed: the blobs' sizes and the layers' usage
}

// Remove takes a name from an image and deletes the image, with the layers and blobs that no other has, when it was the
// last one. An image given by ID or by digest loses its names first, unless they are in several repositories, which is
// ErrConflict without Force. An image that is in use keeps its last name: ErrInUse.
func (s *Store) Remove(ctx context.Context, ref string, o *RemoveOptions) (*Removed, error) {
	if o == nil {
		o = &RemoveOptions{}
	}
	del := &deletion{s: s}
	if err := del.locked(ctx, func() error { return del.remove(ctx, ref, o) }); err != nil {
		return nil, fmt.Errorf("remove image %q: %w", ref, err)
	}
	return &del.done, nil
}

func (del *deletion) remove(ctx context.Context, ref string, o *RemoveOptions) error {
	s := del.s
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	targets, drop, err := s.targetsOf(x, ref, o.Force)
	if err != nil {
		return err
	}
	var gone []ocispec.Descriptor // targets that lose the last name
	by := names(x)
	for _, t := range targets {
		if !slices.ContainsFunc(by[t.Digest], func(n string) bool { return !slices.Contains(drop, n) }) {
			gone = append(gone, t)
		}
	}
	used, err := s.usedBy(gone, o.InUse)
	if err != nil {
		return err
	}
	if used != "" && (!o.Force || len(drop) == 0) {
		return fmt.Errorf("%w by %s", ErrInUse, used)
	}
	for _, n := range drop {
		dropName(x, n)
	}
	del.index, del.done.Untagged = x, drop
	if used != "" {
		return del.writeIndex()
	}
	return del.targets(ctx, gone)
}

// targetsOf returns the targets that a reference stands for and the names that are to go.
func (s *Store) targetsOf(x *ocispec.Index, ref string, force bool) (t []ocispec.Descriptor, drop []string, err error) {
	by := names(x)
	if _, whole := wholeDigest(ref); !whole {
		if d, ok := findName(x, ref); ok {
			return []ocispec.Descriptor{d}, namesToDrop(by[d.Digest], ref), nil
		}
	}
	i, err := s.find(x, ref, "")
	if err != nil {
		return nil, nil, err
	}
	// All that have this configuration or this digest are one image to the user.
	for _, o := range s.summaries(x) {
		if o.ID != i.ID && o.Digest != i.Digest || containsDigest(t, o.Digest) {
			continue
		}
		t = append(t, o.target)
		drop = append(drop, by[o.Digest]...)
	}
	repos := map[string]bool{}
	for _, n := range drop {
		if r, err := registry.ParseReference(n); err == nil {
			n = r.Name()
		}
		repos[n] = true
	}
	if len(repos) > 1 && !force {
		return nil, nil, ErrConflict
	}
	slices.Sort(drop)
	return t, slices.Compact(drop), nil
}

func containsDigest(list []ocispec.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(list, func(x ocispec.Descriptor) bool { return x.Digest == d })
}

// namesToDrop returns which of an image's names go with one of them: when it is the last tag of its repository, the
// repository's digests go too; when it is a digest that no name has, all of the repository do.
func namesToDrop(all []string, ref string) []string {
	r, err := registry.ParseReference(ref)
	if err != nil {
		return []string{ref}
	}
	name := storedName(r)
	var mine, tags []string
	for _, n := range all {
		if o, err := registry.ParseReference(n); err == nil && o.Name() == r.Name() {
			mine = append(mine, n)
			if o.Tag != "" {
				tags = append(tags, n)
			}
		}
	}
	if !slices.Contains(mine, name) || len(tags) == 1 && tags[0] == name {
		return mine
	}
	return []string{name}
}

// usedBy says who uses one of the images that the targets lead to.
func (s *Store) usedBy(targets []ocispec.Descriptor, inUse func(*Image) string) (string, error) {
	held, err := s.leased()
	if err != nil {
		return "", err
	}
	for _, t := range targets {
		list, err := s.loadTarget(t)
		if err != nil {
			continue // damaged, or no image: nothing can run from it
		}
		for _, i := range list {
			if held.images[i.ID] {
				return "a holder", nil
			}
			if inUse == nil {
				continue
			}
			if who := inUse(i); who != "" {
				return who, nil
			}
		}
	}
	return "", nil
}
