package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// A Summary is what a list shows of an image: as much as is known without reading its documents each time.
type Summary struct {
	ID, Digest, Manifest digest.Digest // as of [Image]
	Names                []string      // as of Image, or of them those that a filter's references chose
	Created              time.Time     // in UTC; the zero time when the image does not say
	Size                 int64         // as of Image: 0 when a layer is not extracted
	Labels               map[string]string

	platform ocispec.Platform
	target   ocispec.Descriptor
	manifest ocispec.Descriptor
}

// Descriptor describes what the names stand for, the index of a multi-platform image, else the manifest: media type, digest, and size in bytes.
func (i *Summary) Descriptor() ocispec.Descriptor { return i.target }

// ManifestDescriptor describes the platform's manifest, in the same way, and says for what platform it is.
func (i *Summary) ManifestDescriptor() ocispec.Descriptor {
	d, p := i.manifest, normalPlatform(i.platform)
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: &p}
}

// ContentSize returns the sum of the sizes of the platform's blobs as they came, compressed, in bytes.
func (s *Store) ContentSize(i *Summary) (int64, error) {
	b, err := s.readBlob(i.manifest, maxManifest)
	if err != nil {
		return 0, err
	}
	m, err := parseAnyManifest(b, i.manifest.MediaType)
	if err != nil {
		return 0, err
	}
	sum := i.manifest.Size + m.Config.Size
	for _, l := range m.Layers {
		sum += l.Size
	}
	return sum, nil
}

// Platform returns what the image's programs run on, such as "linux/amd64" or "linux/arm/v7".
func (i *Summary) Platform() string { return formatPlatform(i.platform) }

// Summary returns what a list shows of the image.
func (i *Image) Summary() *Summary {
	return &Summary{
		ID: i.ID, Digest: i.Digest, Manifest: i.Manifest, Names: i.Names, Created: i.Created, Size: i.Size,
		Labels: i.Config.Config.Labels, platform: i.Config.Platform, target: i.target, manifest: i.manifest,
	}
}

// Search returns what List does, of the images that a filter chooses; nil chooses all. It reads a file that has what it
// needs of all images, so that 500 take some milliseconds.
func (s *Store) Search(ctx context.Context, f *Filter) ([]*Summary, error) {
	list, err := s.search(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("search images: %w", err)
	}
	return list, nil
}

func (s *Store) search(ctx context.Context, f *Filter) ([]*Summary, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	want, err := parsePlatform("")
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	list := s.summaries(x)
	if steps := hidden(x); len(steps) > 0 && (f == nil || !f.BuildSteps) {
		list = slices.DeleteFunc(list, func(i *Summary) bool { return steps[i.Digest] })
	}
	if f == nil || !f.AllPlatforms {
		list = onePerDigest(list, func(i *Summary) (digest.Digest, int) { return i.Digest, rank(want, i.platform) })
	}
	slices.SortStableFunc(list, func(a, b *Summary) int { return b.Created.Compare(a.Created) })
	if f == nil {
		return list, nil
	}
	m, err := s.matcher(ctx, f)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(i *Summary) bool { return !m.match(i) }), nil
}

// onePerDigest leaves of those with one digest, which follow one another, the one with the least rank, or else the first.
func onePerDigest[T any](list []T, of func(T) (digest.Digest, int)) []T {
	var out []T
	var last digest.Digest
	least := -1
	for _, i := range list {
		d, r := of(i)
		switch {
		case len(out) == 0 || d != last:
			out, last, least = append(out, i), d, r
		case r >= 0 && (least < 0 || r < least):
			out[len(out)-1], least = i, r
		}
	}
	return out
}

// summaries returns what is to be said of every image that index.json leads to, of every platform, those of one digest
// one after the other. What is no image, or damaged, is left out.
func (s *Store) summaries(x *ocispec.Index) []*Summary {
	known := s.openFacts()
	if layers, err := s.layers.Digests(); err == nil {
		known.extracted = make(map[digest.Digest]bool, len(layers))
		for _, d := range layers {
			known.extracted[d] = true
		}
	}
	by, done := names(x), make(map[digest.Digest]bool, len(x.Manifests))
	list := make([]*Summary, 0, len(x.Manifests))
	for _, e := range x.Manifests {
		if done[e.Digest] {
			continue
		}
		done[e.Digest] = true
		w := &summaryWalk{
			store: s, known: known, seen: map[digest.Digest]bool{}, names: by[e.Digest],
			target: ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size},
		}
		w.visit(e, e.Platform, 0)
		list = append(list, w.found...)
	}
	known.save(s)
	return list
}

// A summaryWalk is a targetWalk that looks at facts.
type summaryWalk struct {
	store  *Store
	known  *factBook
	seen   map[digest.Digest]bool
	names  []string
	target ocispec.Descriptor
	found  []*Summary
}

func (w *summaryWalk) visit(d ocispec.Descriptor, p *ocispec.Platform, depth int) {
	if w.seen[d.Digest] || depth > maxNesting {
		return
	}
	w.seen[d.Digest] = true
	f := w.known.get(w.store, d)
	if f == nil {
		return
	}
	for _, m := range f.children {
		w.visit(m, m.Platform, depth+1)
	}
	if f.config == "" {
		return
	}
	i := &Summary{
		ID: f.config, Digest: w.target.Digest, Manifest: d.Digest, Names: w.names, Created: f.created,
		Size: w.known.size(w.store, f.diffIDs), Labels: f.labels, platform: f.platform, target: w.target, manifest: d,
	}
	if p != nil { // an index knows the variant, which many configurations leave out
		i.platform = *p
	}
	w.found = append(w.found, i)
}

// readFacts reads a document of the store, or two. It is nil, without an error, for what is no image.
func (s *Store) readFacts(d ocispec.Descriptor) (*facts, error) {
	f := &facts{mediaType: d.MediaType, bytes: d.Size}
	if registry.IsIndex(d.MediaType) {
		b, err := s.readBlob(d, maxManifest)
		if err != nil {
			return nil, err
		}
		x, err := parseIndex(b, d.MediaType)
		if err != nil {
			return f, nil
		}
		for _, m := range x.Manifests {
			if !isAttestation(m) {
				f.children = append(f.children, m)
			}
		}
		return f, nil
	}
	i, err := s.loadManifest(d)
	if errors.Is(err, ErrNotImage) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f.config, f.created, f.labels, f.platform = i.ID, i.Created.UTC(), i.Config.Config.Labels, i.Config.Platform
	f.diffIDs = i.Config.RootFS.DiffIDs
	return f, nil
}

// imageOf reads the image that a summary is of.
func (s *Store) imageOf(i *Summary) (*Image, error) {
	list, err := s.loadTarget(i.target)
	if err != nil {
		return nil, err
	}
	for _, img := range list {
		if img.Manifest == i.Manifest {
			img.Names = i.Names
			return img, nil
		}
	}
	return nil, fmt.Errorf("%w: manifest %s is gone", ErrCorrupt, i.Manifest)
}

// size returns the sum of the layers' sizes; 0 when one is not extracted.
func (b *factBook) size(s *Store, diffIDs []digest.Digest) (sum int64) {
	for _, d := range diffIDs {
		n, ok := b.layers[d]
		if !ok {
			var l layer.Layer
			var err error
			if l, err = s.layers.Get(d); err != nil {
				return 0
			}
			n = l.Size
			b.missing++
		}
		if b.extracted != nil && !b.extracted[d] {
			return 0
		}
		b.layers[d], b.used.layers[d] = n, n
		sum += n
	}
	return sum
}
