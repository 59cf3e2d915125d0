package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// CommitOptions are the options of [Store.Commit] and [Store.ImportTar].
type CommitOptions struct {
	// Name is the new image's name, which another image loses that has it. "" means none.
	Name string

	// Parent is the image that the layer goes on top of; its configuration is the new one's but for what the fields
	// below say. nil means none: the image has one layer.
	Parent *Image

	// Platform is what an image without a parent is for. "" means the one that this program runs on.
	Platform string

	// Edit is called with the parent's configuration, and may change it. nil changes nothing.
	Edit func(*ocispec.ImageConfig)

	// Healthcheck, if it is not nil, takes the place of the parent's.
	Healthcheck *Healthcheck

	// Changes are instructions of a Dockerfile, applied after Edit, in order: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK,
	// LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR.
	Changes []string

	// Extra are fields of the configuration that ocispec.ImageConfig does not have, such as Docker's "Healthcheck", "OnBuild" and
	// "Shell", set before Changes. A nil value takes one away.
	Extra map[string]any

	// History are steps, of a build, before the layer's own that made no layer.
	History []ocispec.History

	// CacheKey has the image kept as what a build's step made, for Store.Cached, which no longer gives any before it. Without a Name it is in no list
	// then, and goes by PruneOptions.BuildCache.
	CacheKey string

	// Author, Comment and CreatedBy (the command that made the layer) are for the image's history.
	Author, Comment, CreatedBy string

	// Created is when the image was made. The zero time means now.
	Created time.Time

	// Limits bounds what is extracted of the layer. nil means the defaults.
	Limits *layer.ExtractOptions

	flat bool // the layer takes the place of the parent's
}

// Commit makes an image by one more layer. tar writes the layer as an uncompressed tar stream, such as layer.Diff does;
// it is compressed by gzip, and extracted, as it comes. The image is in the store, durably, when Commit returns without
// an error; when it fails, nothing stays. A tar that is nil makes an image of the layers that o.Parent has, with another configuration.
func (s *Store) Commit(ctx context.Context, tar func(io.Writer) error, o *CommitOptions) (*Image, error) {
	if o == nil {
		o = &CommitOptions{}
	}
	var img *Image
	var err error
	if tar == nil {
		img, err = s.commitConfig(ctx, o)
	} else {
		img, err = s.commitLayer(ctx, o, func(ctx context.Context, b *newBlob) (*layer.Pending, string, error) {
			return s.compressed(ctx, b, tar, o.Limits)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("commit image: %w", err)
	}
	return img, nil
}

// ImportTar makes an image of one layer of a root file system's tar stream, plain or compressed by gzip or zstd, which
// is kept as it is; a plain one is compressed by gzip. o.Parent must be nil.
func (s *Store) ImportTar(ctx context.Context, r io.Reader, o *CommitOptions) (*Image, error) {
	if o == nil {
		o = &CommitOptions{}
	}
	if o.Parent != nil {
		return nil, fmt.Errorf("import root file system: %w: Parent is set", errors.ErrUnsupported)
	}
	img, err := s.commitLayer(ctx, o, func(ctx context.Context, b *newBlob) (*layer.Pending, string, error) {
		r, mediaType, err := layerType(&ctxReader{ctx, r})
		if err != nil {
			return nil, "", err
		}
		if mediaType == ocispec.MediaTypeImageLayer {
			return s.compressed(ctx, b, func(w io.Writer) error {
				_, err := io.Copy(w, r)
				return err
			}, o.Limits)
		}
		src := io.TeeReader(r, b)
		p, err := s.layers.Extract(ctx, src, o.Limits)
		if err == nil {
			_, err = io.Copy(io.Discard, src) // what follows the compressed stream
		}
		return p, mediaType, err
	})
	if err != nil {
		return nil, fmt.Errorf("import root file system: %w", err)
	}
	return img, nil
}

// compressed writes a layer into a blob by gzip and extracts it, side by side.
func (s *Store) compressed(ctx context.Context, b *newBlob, tar func(io.Writer) error, limits *layer.ExtractOptions) (
	*layer.Pending, string, error,
) {
	var o layer.ExtractOptions
	if limits != nil {
		o = *limits
	}
	o.MediaType, o.DiffID = ocispec.MediaTypeImageLayer, ""
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
				_ = w.CloseWithError(err) // nil is the end of file
			}()
			z := gzip.NewWriter(b)
			if err := tar(io.MultiWriter(z, w)); err != nil {
				return err
			}
			return z.Close()
		}()
	}()
	p, err := s.layers.Extract(ctx, r, &o)
	_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends the writer, if it is not at its end
	if werr := <-done; err == nil {
		err = werr
	}
	return p, ocispec.MediaTypeImageLayerGzip, err
}

// commitLayer makes an image by a layer that write puts into a blob and extracts.
func (s *Store) commitLayer(ctx context.Context, o *CommitOptions,
	write func(context.Context, *newBlob) (*layer.Pending, string, error),
) (_ *Image, err error) {
	c := newCommitting(s, o)
	if err := c.parent(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.release()) }()
	b, err := s.newBlob(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	p, mediaType, err := write(ctx, b)
	if p != nil {
		defer func() { err = errors.Join(err, p.Discard()) }()
	}
	if err != nil {
		return nil, err
	}
	desc, err := b.descriptor(c.docker(mediaType))
	if err != nil {
		return nil, err
	}
	if err := c.describe(&desc, p.DiffID); err != nil {
		return nil, err
	}
	return c.store(ctx, b, p)
}

// commitConfig makes an image of its parent's layers.
func (s *Store) commitConfig(ctx context.Context, o *CommitOptions) (_ *Image, err error) {
	if o.Parent == nil {
		return nil, fmt.Errorf("%w: neither a parent nor a layer", errors.ErrUnsupported)
	}
	c := newCommitting(s, o)
	if err := c.parent(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.release()) }()
	if err := c.describe(nil, ""); err != nil {
		return nil, err
	}
	return c.store(ctx, nil, nil)
}

func newCommitting(s *Store, o *CommitOptions) *committing {
	return &committing{s: s, o: o, manifest: ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
	}}
}

// A committing is one call of Commit.
type committing struct {
	s        *Store
	o        *CommitOptions
	name     registry.Reference
	config   document
	manifest ocispec.Manifest
	root     document // the manifest's
	releases []func() error
}

func (c *committing) release() (err error) {
	for _, f := range c.releases {
		err = errors.Join(err, f())
	}
	return err
}

// parent checks the options, and keeps what is below from being deleted.
func (c *committing) parent(ctx context.Context) (err error) {
	if c.o.Name != "" {
		if c.name, err = registry.ParseReference(c.o.Name); err != nil {
			return err
		}
		if c.name.Digest != "" {
			return fmt.Errorf("%w: name %q has a digest", registry.ErrInvalidReference, c.o.Name)
		}
	}
	if _, err := parsePlatform(c.o.Platform); err != nil {
		return err
	}
	if err := checkChanges(c.o.Changes); err != nil {
		return err
	}
	if err := c.o.Healthcheck.Validate(); err != nil {
		return err
	}
	if c.o.Parent == nil {
		return nil
	}
	release, err := c.s.Hold(ctx, c.o.Parent)
	if err != nil {
		return err
	}
	c.releases = append(c.releases, release)
	if c.o.Parent.manifestType == registry.MediaTypeDockerManifest {
		c.manifest.MediaType = registry.MediaTypeDockerManifest
	}
	if !c.o.flat {
		c.manifest.Layers = append(c.manifest.Layers, c.o.Parent.blobs...)
	}
	return nil
}

// docker returns a layer's media type as the manifest's kind has it.
func (c *committing) docker(mediaType string) string {
	if c.manifest.MediaType != registry.MediaTypeDockerManifest {
		return mediaType
	}
	return registry.MediaTypeDockerLayer
}

// describe makes the configuration and the manifest; l is nil for no further layer.
func (c *committing) describe(l *ocispec.Descriptor, diffID digest.Digest) error {
	config, err := c.o.newConfig(diffID)
	if err != nil {
		return err
	}
	configType := ocispec.MediaTypeImageConfig
	if c.manifest.MediaType == registry.MediaTypeDockerManifest {
		configType = registry.MediaTypeDockerConfig
	}
	c.config = newDocument(configType, config)
	c.manifest.Config = c.config.desc
	if l != nil {
		c.manifest.Layers = append(c.manifest.Layers, *l)
	}
	if len(c.manifest.Layers) > maxLayers {
		return invalid("%d layers; at most %d can be mounted", len(c.manifest.Layers), maxLayers)
	}
	b, err := marshal(c.manifest)
	c.root = newDocument(c.manifest.MediaType, b)
	return err
}

func newDocument(mediaType string, b []byte) document {
	return document{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b}
}

// store makes all durable and names the image, in the order of a pull. b and p are nil for no layer.
func (c *committing) store(ctx context.Context, b *newBlob, p *layer.Pending) (_ *Image, err error) {
	s := c.s
	uses := leaseFile{Blobs: []digest.Digest{c.config.desc.Digest, c.root.desc.Digest}}
	if p != nil {
		uses.Blobs, uses.Layers = append(uses.Blobs, b.sum.Digest()), []digest.Digest{p.DiffID}
	}
	l, err := s.lease(ctx, uses)
	if err != nil {
		return nil, err
	}
	var blobs, layers []digest.Digest // that were not in the store before
	defer func() {
		if err = errors.Join(err, l.release()); err != nil {
			err = errors.Join(err, s.discard(context.WithoutCancel(ctx), blobs, layers))
		}
	}()
	if p != nil {
		if err := c.storeLayer(ctx, b, p, &blobs, &layers); err != nil {
			return nil, err
		}
	}
	for _, d := range []document{c.config, c.root} {
		wrote, err := s.putBlob(d.desc, d.bytes)
		if err != nil {
			return nil, err
		}
		if wrote {
			blobs = append(blobs, d.desc.Digest)
		}
	}
	if err := s.syncBlobs(); err != nil {
		return nil, err
	}
	var img *Image
	err = s.update(ctx, func(x *ocispec.Index) (changed bool, err error) {
		if img, err = s.loadManifest(c.root.desc); err != nil {
			return false, err
		}
		if c.o.CacheKey != "" {
			setCache(x, c.o.CacheKey, c.root.desc)
			changed = true
		}
		switch {
		case c.o.Name != "":
			changed = setName(x, storedName(c.name), c.root.desc) || changed
		case !containsDigest(x.Manifests, c.root.desc.Digest):
			x.Manifests, changed = append(x.Manifests, c.root.desc), true
		}
		img.Names = names(x)[img.Digest]
		return changed, nil
	})
	return img, err
}

// storeLayer puts the layer and its blob into the store, and notes what was not there before.
func (c *committing) storeLayer(ctx context.Context, b *newBlob, p *layer.Pending, blobs, layers *[]digest.Digest) error {
	s := c.s
	if !sameFileSystem(s.dir, s.layers.Dir()) {
		if err := b.file.Sync(); err != nil {
			return err
		}
	}
	if _, err := s.layers.Get(p.DiffID); err != nil {
		*layers = append(*layers, p.DiffID)
	}
	if _, err := s.layers.Commit(ctx, p); err != nil {
		return err
	}
	if _, err := os.Lstat(s.blobPath(b.sum.Digest())); err != nil {
		*blobs = append(*blobs, b.sum.Digest())
	}
	return b.commit()
}
