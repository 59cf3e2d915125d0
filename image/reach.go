package image

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// A reach is what descriptors lead to: blobs, in the order in which they are to be deleted (an index before its
// manifests, these before what they need), and the layers' diffIDs.
type reach struct {
	s      *Store
	blobs  map[digest.Digest]ocispec.Descriptor
	order  []digest.Digest
	layers map[digest.Digest]bool
	diffs  []digest.Digest // the layers, in order
	errs   []error         // blobs that are missing or unreadable
}

func (s *Store) newReach() *reach {
	return &reach{s: s, blobs: map[digest.Digest]ocispec.Descriptor{}, layers: map[digest.Digest]bool{}}
}

func (r *reach) problem(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...))
}

// mark adds a blob and says whether it was new.
func (r *reach) mark(d ocispec.Descriptor) bool {
	if old, ok := r.blobs[d.Digest]; ok {
		if old.Size != d.Size {
			r.problem("blob %s has size %d in one place, %d in another", d.Digest, old.Size, d.Size)
		}
		return false
	}
	r.blobs[d.Digest] = d
	r.order = append(r.order, d.Digest)
	if !r.s.hasBlob(d) {
		r.problem("blob %s of %d bytes is missing, or of another size", d.Digest, d.Size)
	}
	return true
}

// add follows a descriptor. The manifests that an index lists need not be there.
func (r *reach) add(d ocispec.Descriptor) {
	if !r.mark(d) {
		return
	}
	switch {
	case registry.IsIndex(d.MediaType):
		b, err := r.s.readBlob(d, maxManifest)
		if err == nil {
			var x *ocispec.Index
			if x, err = parseIndex(b, d.MediaType); err == nil {
				for _, m := range x.Manifests {
					if exists(r.s.blobPath(m.Digest)) {
						r.add(m)
					}
				}
			}
		}
		r.failed(d, err)
	case registry.IsManifest(d.MediaType):
		r.failed(d, r.addManifest(d))
	}
}

func (r *reach) failed(d ocispec.Descriptor, err error) {
	// What is missing mark has said; what another program stores in a form that is unknown here is its own matter.
	if err != nil && r.s.hasBlob(d) && !errors.Is(err, ErrNotImage) {
		r.problem("blob %s: %w", d.Digest, err)
	}
}

func (r *reach) addManifest(d ocispec.Descriptor) error {
	b, err := r.s.readBlob(d, maxManifest)
	if err != nil {
		return err
	}
	m, err := parseAnyManifest(b, d.MediaType)
	if err != nil {
		return err
	}
	r.mark(m.Config)
	for _, l := range slices.Backward(m.Layers) {
		if len(l.URLs) == 0 || exists(r.s.blobPath(l.Digest)) {
			r.mark(l)
		}
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != registry.MediaTypeDockerConfig {
		return nil
	}
	c, err := r.s.readBlob(m.Config, maxConfig)
	if err != nil {
		return err
	}
	config, err := parseConfig(c, len(m.Layers))
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(config.RootFS.DiffIDs) {
		if !r.layers[d] {
			r.layers[d] = true
			r.diffs = append(r.diffs, d)
		}
	}
	return nil
}
