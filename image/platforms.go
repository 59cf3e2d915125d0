package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

const (
	maxPlatforms = 512      // manifests of a multi-platform image that is pulled whole
	maxHeld      = 64 << 20 // bytes of them and of their configurations, which are in memory until the last is there
)

// hold counts what stays in memory, and refuses too much of it.
func (p *pull) hold(document []byte) error {
	if p.held += len(document); p.held > maxHeld {
		return invalid("manifests and configurations of more than %d bytes", maxHeld)
	}
	return nil
}

func (p *pull) maxVisits() int {
	if p.o.AllPlatforms {
		return maxPlatforms
	}
	return maxVisits
}

// everything brings in all that the name leads to, images first: they give the name its meaning, and what is no image is
// kept because the index lists it.
func (p *pull) everything(ctx context.Context) (_ *Image, newer bool, err error) {
	root, err := p.root(ctx)
	if err != nil {
		return nil, false, err
	}
	var images []*Image
	var others [][]document
	seen := map[digest.Digest]bool{}
	err = p.leaves(ctx, []document{root}, seen, func(chain []document) error {
		if err := p.hold(chain[len(chain)-1].bytes); err != nil {
			return err
		}
		err := p.adopt(ctx, chain)
		if err == nil {
			err = p.hold(p.config.bytes)
		}
		if err == nil {
			var img *Image
			var fresh bool
			if img, fresh, err = p.bring(ctx); err == nil {
				images, newer = append(images, img), newer || fresh
				return nil
			}
		}
		if len(chain) > 1 && errors.Is(err, ErrNotImage) {
			others = append(others, chain)
			return nil
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	img := best(p.want, images)
	switch {
	case len(images) == 0, img == nil && p.o.Platform != "":
		return nil, false, p.noPlatform(root)
	case img == nil:
		img = images[0]
	}
	for _, chain := range others {
		fresh, err := p.artifact(ctx, chain)
		if err != nil {
			return nil, false, fmt.Errorf("manifest %s: %w", chain[len(chain)-1].desc.Digest, err)
		}
		newer = newer || fresh
	}
	return img, newer, nil
}

// leaves calls f with the chain to each manifest below the last document of the given one.
func (p *pull) leaves(ctx context.Context, chain []document, seen map[digest.Digest]bool, f func([]document) error) error {
	last := chain[len(chain)-1]
	if !registry.IsIndex(last.desc.MediaType) {
		return f(chain)
	}
	if len(chain) > maxNesting {
		return invalid("indexes nested more than %d deep", maxNesting)
	}
	x, err := parseIndex(last.bytes, last.desc.MediaType)
	if err != nil {
		return err
	}
	for _, d := range x.Manifests {
		if seen[d.Digest] || !registry.IsManifest(d.MediaType) && !registry.IsIndex(d.MediaType) {
			continue
		}
		seen[d.Digest] = true
		doc, err := p.document(ctx, d, maxManifest)
		if err != nil {
			return err
		}
		if err := p.leaves(ctx, append(slices.Clip(chain), doc), seen, f); err != nil {
			return err
		}
	}
	return nil
}

// artifact brings in what a manifest refers to that is no image to this program: blobs, as they are. What is to be fetched
// from elsewhere stays there.
func (p *pull) artifact(ctx context.Context, chain []document) (newer bool, err error) {
	last := chain[len(chain)-1]
	m, err := parseAnyManifest(last.bytes, last.desc.MediaType)
	if err != nil {
		return false, err
	}
	blobs := slices.DeleteFunc(append([]ocispec.Descriptor{m.Config}, m.Layers...), func(d ocispec.Descriptor) bool { return len(d.URLs) > 0 })
	if err := p.measure(blobs); err != nil {
		return false, err
	}
	var f leaseFile
	for _, d := range blobs {
		f.Blobs = append(f.Blobs, d.Digest)
	}
	for _, d := range chain {
		f.Blobs = append(f.Blobs, d.desc.Digest)
	}
	lease, err := p.s.lease(ctx, f)
	if err != nil {
		return false, err
	}
	var wrote []digest.Digest
	defer func() {
		if err = errors.Join(err, lease.release()); err != nil {
			err = errors.Join(err, p.s.discard(context.WithoutCancel(ctx), wrote, nil))
		}
	}()
	for _, d := range blobs {
		if p.s.hasBlob(d) {
			continue
		}
		if err := p.blob(ctx, d); err != nil {
			return false, err
		}
		wrote = append(wrote, d.Digest)
	}
	for _, d := range slices.Backward(chain) {
		fresh, err := p.s.putBlob(d.desc, d.bytes)
		if err != nil {
			return false, err
		}
		if fresh {
			wrote = append(wrote, d.desc.Digest)
		}
	}
	if len(wrote) == 0 {
		return false, nil
	}
	return true, p.s.syncBlobs()
}

// blob fetches a blob that is not extracted.
func (p *pull) blob(ctx context.Context, d ocispec.Descriptor) (err error) {
	b, err := p.s.newBlob(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r, err := p.o.Client.Blob(ctx, p.ref, d) // which verifies size and digest
	if err != nil {
		return err
	}
	_, err = io.Copy(b, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if _, err := b.descriptor(d.MediaType); err != nil {
		return err
	}
	if err := b.file.Sync(); err != nil {
		return err
	}
	return b.commitAs(d.Digest)
}
