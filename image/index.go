package image

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/registry"
)

// readIndex reads index.json. It needs no lock, since the file is only ever replaced.
func (s *Store) readIndex() (*ocispec.Index, error) {
	b, err := readBounded(s.path(ocispec.ImageIndexFile), maxIndexJSON)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return parseIndexJSON(b)
}

func parseIndexJSON(b []byte) (*ocispec.Index, error) {
	var x ocispec.Index
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrCorrupt, ocispec.ImageIndexFile, err)
	}
	for _, d := range x.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ocispec.ImageIndexFile, err)
		}
	}
	return &x, nil
}

// writeIndex replaces index.json; the store's lock must be held.
func (s *Store) writeIndex(x *ocispec.Index) error {
	x.Versioned = specs.Versioned{SchemaVersion: 2}
	x.MediaType = ocispec.MediaTypeImageIndex
	return durable.WriteJSON(s.path(ocispec.ImageIndexFile), x, 0o644)
}

// update changes index.json under the store's lock. The function says whether there was anything to change.
func (s *Store) update(ctx context.Context, f func(*ocispec.Index) (bool, error)) error {
	return s.locked(ctx, func() error {
		x, err := s.readIndex()
		if err != nil {
			return err
		}
		changed, err := f(x)
		if err != nil || !changed {
			return err
		}
		return s.writeIndex(x)
	})
}

// entryName returns the name of an entry of index.json, in full, or "".
func entryName(d ocispec.Descriptor) string {
	raw := d.Annotations[ocispec.AnnotationRefName]
	if raw == "" {
		return ""
	}
	r, err := registry.ParseReference(raw)
	if err != nil {
		return raw // of another program, which may use other rules
	}
	return storedName(r)
}

// storedName is the name under which an image pulled as r is kept. With a digest the tag says nothing.
func storedName(r registry.Reference) string {
	if r.Digest != "" {
		r.Tag = ""
	}
	return r.String()
}

// setName gives a name to the manifest or index d. What had the name before keeps an entry without one.
func setName(x *ocispec.Index, name string, d ocispec.Descriptor) (changed bool) {
	same := func(e ocispec.Descriptor) bool {
		return e.Digest == d.Digest && e.MediaType == d.MediaType && ownSpelling(e)
	}
	named := func(e ocispec.Descriptor) bool { return entryName(e) == name }
	if i := slices.IndexFunc(x.Manifests, named); i >= 0 && same(x.Manifests[i]) &&
		!slices.ContainsFunc(x.Manifests[i+1:], named) {
		return false
	}
	dropName(x, name)
	x.Manifests = slices.DeleteFunc(x.Manifests, func(e ocispec.Descriptor) bool {
		return e.Digest == d.Digest && entryName(e) == "" && !isCache(e)
	})
	x.Manifests = append(x.Manifests, ocispec.Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType,
		Annotations: map[string]string{ocispec.AnnotationRefName: name},
	})
	return true
}

// dropName takes a name away. The entry stays, without a name, when it is the only one of its digest.
func dropName(x *ocispec.Index, name string) {
	for i := 0; i < len(x.Manifests); i++ {
		e := x.Manifests[i]
		if entryName(e) != name {
			continue
		}
		if slices.ContainsFunc(x.Manifests, func(o ocispec.Descriptor) bool {
			return o.Digest == e.Digest && entryName(o) != name && !isCache(o)
		}) {
			x.Manifests = slices.Delete(x.Manifests, i, i+1)
			i--
			continue
		}
		a := make(map[string]string, len(e.Annotations))
		for k, v := range e.Annotations {
			if k != ocispec.AnnotationRefName {
				a[k] = v
			}
		}
		if len(a) == 0 {
			a = nil
		}
		x.Manifests[i].Annotations = a
	}
}

// namedAt returns the position of the entry that a name stands for, or -1. A name can be there twice, once in full and
// once as another program spelled it; that one counts then, since setName leaves only its own: the other came later. Of
// equals the later entry counts.
func namedAt(x *ocispec.Index, name string) int {
	at := -1
	for i, e := range x.Manifests {
		if entryName(e) == name && (at < 0 || !ownSpelling(e) || ownSpelling(x.Manifests[at])) {
			at = i
		}
	}
	return at
}

// ownSpelling says whether an entry's name is written as setName does.
func ownSpelling(d ocispec.Descriptor) bool {
	return d.Annotations[ocispec.AnnotationRefName] == entryName(d)
}
