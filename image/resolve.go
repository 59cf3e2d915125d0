package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// resolve finds the platform's manifest and its configuration, and reads them, from the store what it has.
func (p *pull) resolve(ctx context.Context) error {
	root, err := p.root(ctx)
	if err != nil {
		return err
	}
	chain, err := p.descend(ctx, []document{root})
	if err != nil {
		return err
	}
	if chain == nil {
		return p.noPlatform(root)
	}
	return p.adopt(ctx, chain)
}

// adopt takes the manifest at the end of a chain, and reads its configuration.
func (p *pull) adopt(ctx context.Context, chain []document) error {
	last := chain[len(chain)-1]
	m, err := parseManifest(last.bytes, last.desc.MediaType)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", last.desc.Digest, err)
	}
	config, err := p.document(ctx, m.Config, maxConfig)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	p.chain, p.manifest, p.config = chain, m, config
	return nil
}

// root reads what the name stands for.
func (p *pull) root(ctx context.Context) (document, error) {
	if p.ref.Digest != "" { // which cannot have changed
		if d, ok := p.stored(p.ref.Digest); ok {
			return d, nil
		}
	}
	if d, ok := p.unchanged(ctx); ok {
		return d, nil
	}
	desc, b, err := p.o.Client.Manifest(ctx, p.ref)
	if err != nil {
		return document{}, err
	}
	desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: int64(len(b))}
	if p.ref.Digest != "" && p.ref.Digest != desc.Digest {
		return document{}, invalid("asked for %s, got %s", p.ref.Digest, desc.Digest)
	}
	return document{desc, b}, fitsDigest(desc, b)
}

// unchanged asks the registry, when the store has the name, whether it still stands for the same: registries count
// that less than fetching.
func (p *pull) unchanged(ctx context.Context) (document, bool) {
	x, err := p.s.readIndex()
	if err != nil || namedAt(x, storedName(p.ref)) < 0 {
		return document{}, false
	}
	d, err := p.o.Client.Resolve(ctx, p.ref)
	if err != nil {
		return document{}, false // fetching will say why
	}
	return p.stored(d.Digest)
}

// stored looks for a digest among what index.json leads to directly.
func (p *pull) stored(d digest.Digest) (document, bool) {
	x, err := p.s.readIndex()
	if err != nil {
		return document{}, false
	}
	i := slices.IndexFunc(x.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == d })
	if i < 0 {
		return document{}, false
	}
	e := x.Manifests[i]
	desc := ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}
	b, err := p.s.readBlob(desc, maxManifest)
	return document{desc, b}, err == nil
}

// document reads a manifest or a configuration that is referred to by a descriptor.
func (p *pull) document(ctx context.Context, d ocispec.Descriptor, limit int64) (document, error) {
	if d.Size > limit {
		return document{}, invalid("%s of %d bytes; at most %d are read", d.Digest, d.Size, limit)
	}
	if p.s.hasBlob(d) {
		if b, err := p.s.readBlob(d, limit); err == nil {
			return document{d, b}, nil
		}
	}
	var b []byte
	var err error
	if registry.IsManifest(d.MediaType) || registry.IsIndex(d.MediaType) {
		if p.visits++; p.visits > p.maxVisits() {
			return document{}, invalid("more than %d manifests to look at", p.maxVisits())
		}
		ref := p.ref
		ref.Tag, ref.Digest = "", d.Digest
		var got ocispec.Descriptor
		if got, b, err = p.o.Client.Manifest(ctx, ref); err == nil && got.MediaType != d.MediaType {
			err = invalid("%s has media type %.100q, its index says %s", d.Digest, got.MediaType, d.MediaType)
		}
	} else {
		b, err = readRemote(ctx, p.o.Client, p.ref, d)
	}
	if err != nil {
		return document{}, err
	}
	return document{d, b}, fitsDigest(d, b)
}

// descend follows indexes to the manifest for the platform, and returns nil when there is none.
func (p *pull) descend(ctx context.Context, chain []document) ([]document, error) {
	last := chain[len(chain)-1]
	if !registry.IsIndex(last.desc.MediaType) {
		return chain, nil
	}
	if len(chain) > maxNesting {
		return nil, invalid("indexes nested more than %d deep", maxNesting)
	}
	x, err := parseIndex(last.bytes, last.desc.MediaType)
	if err != nil {
		return nil, err
	}
	if i := choosePlatform(p.want, x.Manifests); i >= 0 {
		d, err := p.document(ctx, x.Manifests[i], maxManifest)
		if err != nil {
			return nil, err
		}
		return p.descend(ctx, append(slices.Clip(chain), d))
	}
	return p.descendUnlabelled(ctx, chain, x)
}

// descendUnlabelled looks into the entries of an index that do not say for which platform they are.
func (p *pull) descendUnlabelled(ctx context.Context, chain []document, x *ocispec.Index) ([]document, error) {
	for _, d := range x.Manifests {
		if d.Platform != nil || !registry.IsManifest(d.MediaType) && !registry.IsIndex(d.MediaType) {
			continue
		}
		doc, err := p.document(ctx, d, maxManifest)
		if err != nil {
			return nil, err
		}
		found, err := p.descend(ctx, append(slices.Clip(chain), doc))
		if err != nil {
			return nil, err
		}
		if found == nil {
			continue
		}
		end := found[len(found)-1]
		if end.desc.Platform != nil {
			return found, nil
		}
		if ok, err := p.suits(ctx, end); err != nil {
			return nil, err
		} else if ok {
			return found, nil
		}
	}
	return nil, nil
}

// suits says whether a manifest is of an image for the platform, by its configuration.
func (p *pull) suits(ctx context.Context, d document) (bool, error) {
	m, err := parseManifest(d.bytes, d.desc.MediaType)
	if errors.Is(err, ErrNotImage) {
		return false, nil // an artifact beside the image
	}
	if err != nil {
		return false, err
	}
	doc, err := p.document(ctx, m.Config, maxConfig)
	if err != nil {
		return false, err
	}
	c, err := parseConfig(doc.bytes, len(m.Layers))
	if err != nil {
		return false, err
	}
	return rank(p.want, c.Platform) >= 0, nil
}

func (p *pull) noPlatform(root document) error {
	x, err := parseIndex(root.bytes, root.desc.MediaType)
	if err != nil {
		return err
	}
	var have []ocispec.Platform
	for _, d := range x.Manifests {
		if d.Platform != nil {
			have = append(have, *d.Platform)
		}
	}
	return newPlatformError(p.ref.Familiar(), p.want, have)
}
