package image

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// MakeIndex makes a multi-platform image, an OCI index, of images of the store, and gives it a name. Of an image that is an
// index itself each platform that is in the store is taken; of two for the same platform the later one counts. So an index
// is edited by making it anew of itself and what is to be added or replaced. annotations, which may be nil, are the index's.
func (s *Store) MakeIndex(ctx context.Context, name string, refs []string, annotations map[string]string) (digest.Digest, error) {
	d, err := s.makeIndex(ctx, name, refs, annotations)
	if err != nil {
		return "", fmt.Errorf("make index %q: %w", name, err)
	}
	return d, nil
}

func (s *Store) makeIndex(ctx context.Context, name string, refs []string, annotations map[string]string) (digest.Digest, error) {
	r, err := registry.ParseReference(name)
	if err != nil {
		return "", err
	}
	if r.Digest != "" {
		return "", fmt.Errorf("%w: the name has a digest", registry.ErrInvalidReference)
	}
	if len(refs) == 0 {
		return "", invalid("an index of no images")
	}
	var made document
	err = s.update(ctx, func(x *ocispec.Index) (bool, error) {
		index := ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: annotations,
		}
		for _, ref := range refs {
			list, err := s.manifestsOf(x, ref)
			if err != nil {
				return false, fmt.Errorf("image %q: %w", ref, err)
			}
			for _, d := range list {
				index.Manifests = placeManifest(index.Manifests, d)
			}
		}
		b, err := marshal(index)
		if err != nil {
			return false, err
		}
		if len(b) > maxManifest {
			return false, invalid("index of %d bytes; at most %d are read", len(b), maxManifest)
		}
		made = newDocument(index.MediaType, b)
		// Under the store's lock nothing deletes it before it has its name.
		if _, err := s.putBlob(made.desc, b); err != nil {
			return false, err
		}
		if err := s.syncBlobs(); err != nil {
			return false, err
		}
		return setName(x, storedName(r), made.desc), nil
	})
	return made.desc.Digest, err
}

// manifestsOf returns the manifests that a reference leads to, with their platforms.
func (s *Store) manifestsOf(x *ocispec.Index, ref string) ([]ocispec.Descriptor, error) {
	img, err := s.find(x, ref, "")
	if err != nil {
		return nil, err
	}
	images := []*Image{img}
	if img.Digest != img.Manifest { // the whole of a multi-platform one
		if images, err = s.loadTarget(img.target); err != nil {
			return nil, err
		}
	}
	var list []ocispec.Descriptor
	for _, i := range images {
		f, err := s.OpenBlob(i.Manifest)
		if err != nil {
			return nil, err
		}
		fi, err := f.Stat()
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		p := i.Config.Platform
		list = append(list, ocispec.Descriptor{MediaType: i.manifestType, Digest: i.Manifest, Size: fi.Size(), Platform: &p})
	}
	return list, nil
}

// placeManifest adds a manifest to a list, in the place of one for the same platform.
func placeManifest(list []ocispec.Descriptor, d ocispec.Descriptor) []ocispec.Descriptor {
	for n, have := range list {
		if formatPlatform(*have.Platform) == formatPlatform(*d.Platform) {
			list[n] = d
			return list
		}
	}
	return append(list, d)
}
