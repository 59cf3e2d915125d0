package image

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// PullOptions are the options of [Pull].
type PullOptions struct {
	// Client asks the registry. nil means one of the zero value for this pull.
	Client *registry.Client

	// Platform, such as "linux/arm64/v8", chooses among the platforms of a multi-platform image. "" means the one that
	// this program runs on; then an image that is for one platform alone is pulled whatever it is for.
	Platform string

	// AllPlatforms brings in everything that a multi-platform image lists, so that it can be pushed and saved as it is: the
	// platforms, each extracted, and what is there for other systems or is no image, such as attestations, as blobs.
	// Platform then says which of them Pull returns. When it fails, the platforms that were whole stay.
	AllPlatforms bool

	// Parallel bounds how many layers are fetched at a time. 0 means 3. It bounds the memory, too: each takes up to 4 MiB,
	// and 8 MiB for the window of zstd; one with up to 32 MiB has them alone (layer.ExtractOptions.MaxWindow). So a pull
	// with 3 takes less than 64 MiB, whatever the image, besides garbage, which runtime/debug.SetMemoryLimit bounds.
	Parallel int

	// Progress is called with each step, by one goroutine at a time. It must not block for long.
	Progress func(Event)

	// Limits bounds what is extracted of each layer; its MediaType and DiffID are not looked at. nil means the defaults.
	Limits *layer.ExtractOptions

	// MaxSize bounds the sum of the layers' compressed sizes in bytes, with AllPlatforms of all platforms. 0 means no
	// bound.
	MaxSize int64
}

const defaultParallel = 3

// Pull brings an image into the store. ref is read by Docker's rules: "alpine" is docker.io/library/alpine:latest; a
// digest decides over a tag. What is in the store already is not fetched again. The image is in the store when Pull
// returns without an error, even if the machine loses power then; when it fails, what was fetched whole or in part
// stays in the store's tmp folder for a day, for the next try, and layers that were extracted whole stay until Prune; after
// a full disk or wrong bytes not even that.
//
// ctx bounds all of it. Errors: registry's (registry.ErrNotFound, ErrUnauthorized, …), *PlatformError, ErrNotImage,
// ErrInvalid.
func Pull(ctx context.Context, s *Store, ref string, o *PullOptions) (*Image, error) {
	p, err := newPull(s, ref, o)
	if err != nil {
		return nil, fmt.Errorf("pull %q: %w", ref, err)
	}
	if o == nil || o.Client == nil {
		defer p.o.Client.CloseIdleConnections()
	}
	img, err := p.run(ctx)
	if err != nil {
		return nil, p.failed(err)
	}
	return img, nil
}

// failed names what was pulled, unless the error begins with that, as those of a registry's answers do.
func (p *pull) failed(err error) error {
	if name := p.ref.Familiar() + ": "; !strings.HasPrefix(err.Error(), name) {
		return fmt.Errorf("pull %s%w", name, err)
	}
	return fmt.Errorf("pull %w", err)
}

// A pull is one call of Pull.
type pull struct {
	s        *Store
	o        PullOptions
	ref      registry.Reference
	want     ocispec.Platform
	progress *progress

	chain    []document // from what the name stands for to the platform's manifest
	manifest *ocispec.Manifest
	config   document
	visits   int
	size     int64 // of the layers, compressed
	held     int   // bytes of documents
}

// A document is a manifest, an index or a configuration, with its bytes.
type document struct {
	desc  ocispec.Descriptor
	bytes []byte
}

func newPull(s *Store, ref string, o *PullOptions) (*pull, error) {
	p := &pull{s: s}
	if o != nil {
		p.o = *o
	}
	if p.o.Client == nil {
		p.o.Client = &registry.Client{}
	}
	if p.o.Parallel <= 0 {
		p.o.Parallel = defaultParallel
	}
	p.progress = &progress{f: p.o.Progress}
	var err error
	if p.want, err = parsePlatform(p.o.Platform); err != nil {
		return nil, err
	}
	p.ref, err = registry.ParseReference(ref)
	return p, err
}

func (p *pull) run(ctx context.Context) (*Image, error) {
	first := Event{Kind: PullingFrom, Ref: p.repository(), Tag: p.ref.Tag}
	if p.ref.Digest != "" {
		first.Tag = p.ref.Digest.String()
	}
	p.progress.send(first)
	img, newer, err := p.choose(ctx)
	if err != nil {
		return nil, err
	}
	p.progress.send(Event{Kind: PulledDigest, Digest: img.Digest})
	last := Event{Kind: UpToDate, Ref: p.ref.Familiar()}
	if newer {
		last.Kind = DownloadedNewer
	}
	p.progress.send(last)
	return img, nil
}

// choose brings in the platform that is wanted, or all, and says whether something was new.
func (p *pull) choose(ctx context.Context) (img *Image, newer bool, err error) {
	if p.o.AllPlatforms {
		return p.everything(ctx)
	}
	if err := p.resolve(ctx); err != nil {
		return nil, false, err
	}
	return p.bring(ctx)
}

// bring brings in the image of the platform at the end of the chain.
func (p *pull) bring(ctx context.Context) (_ *Image, newer bool, err error) {
	manifest := p.chain[len(p.chain)-1]
	img, err := p.s.newImage(manifest.desc, p.manifest, p.config.bytes)
	if err != nil {
		return nil, false, err
	}
	if err := p.admit(img); err != nil {
		return nil, false, err
	}
	lease, err := p.s.lease(ctx, p.leaseFile(img))
	if err != nil {
		return nil, false, err
	}
	newer, err = p.store(ctx, img)
	if err = errors.Join(err, lease.release()); err != nil {
		return nil, false, err
	}
	p.s.used(img.Manifest)
	return img, newer, nil
}

// repository is the name that Docker shows in "Pulling from": without docker.io, with library/.
func (p *pull) repository() string { return p.ref.Repository }

// admit refuses what is larger than asked for, and the wrong platform.
func (p *pull) admit(img *Image) error {
	root := p.chain[0].desc
	img.Digest, img.target = root.Digest, root
	if len(p.chain) > 1 {
		if at := p.chain[len(p.chain)-1].desc.Platform; at != nil {
			img.Config.Platform = *at
		}
	} else if p.o.Platform != "" && img.Config.Architecture != "" && rank(p.want, img.Config.Platform) < 0 {
		return newPlatformError(p.ref.Familiar(), p.want, []ocispec.Platform{img.Config.Platform})
	}
	return p.measure(img.blobs)
}

// measure refuses what goes beyond MaxSize.
func (p *pull) measure(blobs []ocispec.Descriptor) error {
	for _, l := range blobs {
		if p.size += l.Size; p.size < 0 || p.o.MaxSize > 0 && p.size > p.o.MaxSize {
			return invalid("layers of more than %d bytes, which is the limit", p.o.MaxSize)
		}
	}
	return nil
}

func (p *pull) leaseFile(img *Image) leaseFile {
	f := leaseFile{Blobs: []digest.Digest{p.config.desc.Digest}, Layers: img.Config.RootFS.DiffIDs}
	for _, d := range p.chain {
		f.Blobs = append(f.Blobs, d.desc.Digest)
	}
	for _, d := range img.blobs {
		f.Blobs = append(f.Blobs, d.Digest)
	}
	return f
}

// store fetches what is missing and names the image: layers first, then what describes them, from the inside out, then
// index.json; each is durable before what leads to it is written.
func (p *pull) store(ctx context.Context, img *Image) (newer bool, err error) {
	f := &fetcher{
		s: p.s, client: p.o.Client, ref: p.ref, progress: p.progress, limits: p.o.Limits, parallel: p.o.Parallel,
	}
	if newer, err = f.fetch(ctx, img); err != nil {
		return false, err
	}
	docs := []document{p.config}
	for i := len(p.chain) - 1; i >= 0; i-- {
		docs = append(docs, p.chain[i])
	}
	for _, d := range docs {
		wrote, err := p.s.putBlob(d.desc, d.bytes)
		if err != nil {
			return false, err
		}
		newer = newer || wrote
	}
	if newer {
		if err := p.s.syncBlobs(); err != nil {
			return false, err
		}
	}
	if !p.s.fillLayers(img) {
		return false, fmt.Errorf("%w: a layer is gone", ErrCorrupt)
	}
	err = p.s.update(ctx, func(x *ocispec.Index) (bool, error) {
		changed := setName(x, storedName(p.ref), img.target)
		newer = newer || changed
		img.Names = names(x)[img.Digest]
		return changed, nil
	})
	return newer, err
}
