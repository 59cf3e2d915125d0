package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// annotationCache is that of an entry of index.json which keeps an image as a step of a build: its value is the step's key.
// Such an entry has no name. An image all of whose entries are such is in no list, and goes by PruneOptions.BuildCache alone.
const annotationCache = "io.caisson.build.step"

func isCache(d ocispec.Descriptor) bool { return d.Annotations[annotationCache] != "" }

// hidden are the digests of the images that are steps of builds and nothing else.
func hidden(x *ocispec.Index) map[digest.Digest]bool {
	all := map[digest.Digest]bool{}
	for _, e := range x.Manifests {
		if isCache(e) {
			all[e.Digest] = true
		}
	}
	for _, e := range x.Manifests {
		if !isCache(e) {
			delete(all, e.Digest)
		}
	}
	return all
}

// setCache makes an image the one of a step. One that was it before stays, until the cache is pruned, under a key that nobody asks for.
func setCache(x *ocispec.Index, key string, d ocispec.Descriptor) {
	replaced := func(e ocispec.Descriptor) string { return key + " " + e.Digest.String() }
	x.Manifests = slices.DeleteFunc(x.Manifests, func(e ocispec.Descriptor) bool {
		k := e.Annotations[annotationCache]
		return k == key && e.Digest == d.Digest || k == replaced(d)
	})
	for i, e := range x.Manifests {
		if e.Annotations[annotationCache] == key {
			x.Manifests[i].Annotations = map[string]string{annotationCache: replaced(e)}
		}
	}
	x.Manifests = append(x.Manifests, ocispec.Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: map[string]string{annotationCache: key},
	})
}

// Cached returns the image that a build's step with the key made: see CommitOptions.CacheKey. It is ErrNotFound if there is none.
func (s *Store) Cached(ctx context.Context, key string) (*Image, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(x.Manifests, func(e ocispec.Descriptor) bool { return key != "" && e.Annotations[annotationCache] == key })
	if i < 0 {
		return nil, fmt.Errorf("build step %.12s: %w", key, ErrNotFound)
	}
	d := x.Manifests[i]
	img, err := s.loadManifest(ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	if err != nil {
		return nil, fmt.Errorf("build step %.12s: %w", key, err)
	}
	img.Names = names(x)[d.Digest]
	if img.Layers == nil {
		err = s.unpack(ctx, img)
	}
	return img, err
}

// Show has an image listed that was a build's step only, as one without a name; others stay as they are.
func (s *Store) Show(ctx context.Context, img *Image) error {
	return s.update(ctx, func(x *ocispec.Index) (bool, error) {
		switch {
		case !containsDigest(x.Manifests, img.Digest):
			return false, fmt.Errorf("show image %s: %w", img.ID, ErrNotFound)
		case !hidden(x)[img.Digest]:
			return false, nil
		}
		x.Manifests = append(x.Manifests, img.target)
		return true, nil
	})
}
