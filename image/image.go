package image

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// An Image is an image of one platform in a store, as it was when it was read.
type Image struct {
	// ID is the digest of the configuration, which Docker calls the image's ID.
	ID digest.Digest

	// Digest is of what the names stand for, and what a registry calls the image's digest: the index of a
	// multi-platform image, else the manifest.
	Digest digest.Digest

	// Manifest is the digest of the platform's manifest.
	Manifest digest.Digest

	// Names are the full names that stand for Digest, such as docker.io/library/alpine:latest, sorted. An image that
	// was pulled by digest has the name docker.io/library/alpine@sha256:….
	Names []string

	// Config is the image's configuration.
	Config ocispec.Image

	// ConfigJSON is the configuration's bytes, for what Config does not have: see [Image.Healthcheck].
	ConfigJSON []byte

	// Layers are the extracted layers, the lowest first, as layer.Mount takes them. List and Lookup leave it nil when
	// a layer of the image is not extracted; Get and Pull never do.
	Layers []layer.Layer

	// Size is the sum of the sizes of the files in the layers, in bytes, as Docker counts it; 0 when Layers is nil.
	Size int64

	// Created is when the image was made, by its own word; the zero time when it does not say.
	Created time.Time

	manifestType string             // the media type of the platform's manifest
	manifest     ocispec.Descriptor // that manifest

	target ocispec.Descriptor   // what Digest is of
	blobs  []ocispec.Descriptor // the layers, compressed, the lowest first
}

// Platform returns what the image's programs run on, such as "linux/amd64" or "linux/arm/v7".
func (i *Image) Platform() string { return formatPlatform(i.Config.Platform) }

// Descriptor describes what Digest is of: media type, digest, and size in bytes.
func (i *Image) Descriptor() ocispec.Descriptor { return i.target }

// loadManifest reads an image of the store by the descriptor of its manifest.
func (s *Store) loadManifest(d ocispec.Descriptor) (*Image, error) {
	b, err := s.readBlob(d, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b, d.MediaType)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	c, err := s.readBlob(m.Config, maxConfig)
	if err != nil {
		return nil, err
	}
	return s.newImage(d, m, c)
}

func (s *Store) newImage(d ocispec.Descriptor, m *ocispec.Manifest, config []byte) (*Image, error) {
	c, err := parseConfig(config, len(m.Layers))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	bare := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size} // the index's entry has a name, which is one of many
	i := &Image{
		ID: m.Config.Digest, Digest: d.Digest, Manifest: d.Digest,
		Config: *c, ConfigJSON: config, manifestType: d.MediaType, manifest: bare, target: bare, blobs: m.Layers,
	}
	if c.Created != nil {
		i.Created = *c.Created
	}
	s.fillLayers(i)
	return i, nil
}

// fillLayers sets Layers and Size when all the layers are extracted, and says whether they are.
func (s *Store) fillLayers(i *Image) bool {
	layers, size := make([]layer.Layer, 0, len(i.blobs)), int64(0)
	for _, d := range i.Config.RootFS.DiffIDs {
		l, err := s.layer(d)
		if err != nil {
			return false
		}
		layers, size = append(layers, l), size+l.Size
	}
	i.Layers, i.Size = layers, size
	return true
}

// loadTarget reads the images that a descriptor of index.json leads to: one for a manifest; for an index, one for each
// platform that was pulled.
func (s *Store) loadTarget(d ocispec.Descriptor) ([]*Image, error) {
	w := &targetWalk{s: s, seen: map[digest.Digest]bool{}}
	if err := w.visit(d, d.Platform, 0); err != nil {
		return nil, err
	}
	if len(w.images) == 0 && w.err != nil {
		return nil, w.err
	}
	for _, i := range w.images {
		i.Digest = d.Digest
		i.target = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	}
	return w.images, nil
}

type targetWalk struct {
	s      *Store
	seen   map[digest.Digest]bool
	images []*Image
	err    error // of a manifest in an index
}

func (w *targetWalk) visit(d ocispec.Descriptor, p *ocispec.Platform, depth int) error {
	if w.seen[d.Digest] {
		return nil
	}
	w.seen[d.Digest] = true
	if !registry.IsIndex(d.MediaType) {
		i, err := w.s.loadManifest(d)
		if err != nil {
			return err
		}
		if p != nil { // an index knows the variant, which many configurations leave out
			i.Config.Platform = *p
		}
		w.images = append(w.images, i)
		return nil
	}
	if depth == maxNesting {
		return invalid("index %s: nested more than %d deep", d.Digest, maxNesting)
	}
	b, err := w.s.readBlob(d, maxManifest)
	if err != nil {
		return err
	}
	x, err := parseIndex(b, d.MediaType)
	if err != nil {
		return fmt.Errorf("index %s: %w", d.Digest, err)
	}
	for _, m := range x.Manifests {
		if !w.s.hasBlob(m) || isAttestation(m) {
			continue // another platform, which was not pulled
		}
		if err := w.visit(m, m.Platform, depth+1); err != nil && w.err == nil {
			w.err = err
		}
	}
	return nil
}

// isAttestation says whether an entry of an index is what BuildKit attaches to an image, for the platform
// unknown/unknown.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// best returns the image of the list that suits want best, nil when none does.
func best(want ocispec.Platform, list []*Image) *Image {
	var found *Image
	least := -1
	for _, i := range list {
		if r := rank(want, i.Config.Platform); r >= 0 && (least < 0 || r < least) {
			found, least = i, r
		}
	}
	return found
}
