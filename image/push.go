package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// PushOptions are the options of [Push].
type PushOptions struct {
	// Client asks the registry. nil means one of the zero value for this push.
	Client *registry.Client

	// To is the name to push to. "" means the name that is pushed.
	To string

	// Platform, such as "linux/arm64", pushes of a multi-platform image this platform alone. "" means all of it, or if not all
	// of it is in the store the platform that suits this program.
	Platform string

	// Parallel bounds how many blobs are sent at a time. 0 means 3.
	Parallel int

	// Progress is called as each blob is dealt with, by one goroutine at a time. It must not block for long.
	Progress func(Event)
}

const (
	// Preparing comes once for each layer that is pushed, before anything else of it.
	Preparing Kind = "Preparing"
	// Pushing has the bytes sent so far and in all.
	Pushing Kind = "Pushing"
	// Pushed says that a layer was sent.
	Pushed Kind = "Pushed"
	// LayerExists says that the repository had a layer.
	LayerExists Kind = "Layer already exists"
	// Mounted says that the registry took a layer from another repository of its own.
	Mounted Kind = "Mounted from"
)

// Push sends an image of the store, as [Store.Get] finds it, to its registry: what the repository does not have,
// mounted where possible from a repository of that registry in which the image has a name, too. Of a multi-platform
// image everything must be in the store, or else the platform that suits this program is pushed alone. It returns the
// digest under which the registry now has it.
func Push(ctx context.Context, s *Store, ref string, o *PushOptions) (digest.Digest, error) {
	if o == nil {
		o = &PushOptions{}
	}
	d, err := push(ctx, s, ref, *o)
	if err != nil {
		return "", fmt.Errorf("push %q: %w", ref, err)
	}
	return d, nil
}

func push(ctx context.Context, s *Store, ref string, o PushOptions) (d digest.Digest, err error) {
	if o.Client == nil {
		o.Client = &registry.Client{}
		defer o.Client.CloseIdleConnections()
	}
	img, err := s.Lookup(ctx, ref, &GetOptions{Platform: o.Platform})
	if err != nil {
		return "", err
	}
	to, err := registry.ParseReference(cmp.Or(o.To, ref))
	if err != nil {
		return "", err
	}
	if o.To == "" && !slices.Contains(img.Names, storedName(to)) {
		return "", fmt.Errorf("%w of that name: an ID does not say where to push to", ErrNotFound)
	}
	p := &pusher{
		s: s, o: o, to: to, progress: &progress{f: o.Progress}, from: mountable(img.Names, to),
		seen: map[digest.Digest]ocispec.Descriptor{},
	}
	root := img.target
	err = p.plan(root, 0)
	if errors.Is(err, errPartial) || err == nil && o.Platform != "" {
		p.blobs, p.documents = nil, nil
		root = p.seen[img.Manifest]
		err = p.plan(root, 0)
	}
	if err != nil {
		return "", err
	}
	f := leaseFile{}
	for _, b := range slices.Concat(p.blobs, p.documents) {
		f.Blobs = append(f.Blobs, b.Digest)
	}
	l, err := s.lease(ctx, f)
	if err != nil {
		return "", err
	}
	return root.Digest, errors.Join(p.run(ctx), l.release())
}

// errPartial says that an index has manifests that are not in the store.
var errPartial = errors.New("not all platforms are in the store")

type pusher struct {
	s        *Store
	o        PushOptions
	to       registry.Reference
	from     string // a repository to mount from
	progress *progress

	seen      map[digest.Digest]ocispec.Descriptor // manifests and indexes
	blobs     []ocispec.Descriptor
	documents []ocispec.Descriptor // manifests and indexes, the inner ones first
}

// mountable returns the repository of one of the names that is in the same registry, but not the same repository.
func mountable(names []string, to registry.Reference) string {
	for _, n := range names {
		if r, err := registry.ParseReference(n); err == nil && r.Host == to.Host && r.Repository != to.Repository {
			return r.Repository
		}
	}
	return ""
}

// plan lists what a descriptor leads to.
func (p *pusher) plan(d ocispec.Descriptor, depth int) error {
	p.seen[d.Digest] = d
	b, err := p.s.readBlob(d, maxManifest)
	if err != nil {
		return err
	}
	if !registry.IsIndex(d.MediaType) {
		m, err := parseAnyManifest(b, d.MediaType)
		if err != nil {
			return err
		}
		for _, l := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if len(l.URLs) > 0 && !p.s.hasBlob(l) {
				continue // it is to be had elsewhere
			}
			if !containsDigest(p.blobs, l.Digest) {
				p.blobs = append(p.blobs, l)
			}
		}
		p.documents = append(p.documents, d)
		return nil
	}
	if depth == maxNesting {
		return invalid("indexes nested more than %d deep", maxNesting)
	}
	x, err := parseIndex(b, d.MediaType)
	if err != nil {
		return err
	}
	partial := false
	for _, m := range x.Manifests {
		if !p.s.hasBlob(m) {
			partial = true
			continue
		}
		if err := p.plan(m, depth+1); errors.Is(err, errPartial) {
			partial = true
		} else if err != nil {
			return err
		}
	}
	if partial {
		return errPartial
	}
	p.documents = append(p.documents, d)
	return nil
}

func (p *pusher) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, b := range p.blobs {
		p.progress.send(Event{Kind: Preparing, Digest: b.Digest})
	}
	slots := make(chan struct{}, max(1, cmp.Or(p.o.Parallel, defaultParallel)))
	var wg sync.WaitGroup
	for _, b := range p.blobs {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := p.blob(ctx, b); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i, d := range p.documents {
		b, err := p.s.readBlob(d, maxManifest)
		if err != nil {
			return err
		}
		to := p.to
		if i < len(p.documents)-1 || to.Tag == "" {
			to.Tag, to.Digest = "", d.Digest
		} else {
			to.Digest = ""
		}
		desc := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
		if err := p.o.Client.PushManifest(ctx, to, desc, b); err != nil {
			return err
		}
	}
	return nil
}

func (p *pusher) blob(ctx context.Context, d ocispec.Descriptor) error {
	f, err := p.s.OpenBlob(d.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	body := &meteredFile{ReadSeeker: f, meter: meter{
		p: p.progress, event: Event{Kind: Pushing, Digest: d.Digest, Total: d.Size},
	}}
	how, err := p.o.Client.PushBlob(ctx, p.to, registry.BlobUpload{Descriptor: d, Content: body, MountFrom: p.from})
	if err != nil {
		return err
	}
	kinds := map[registry.BlobOutcome]Kind{registry.BlobExists: LayerExists, registry.BlobMounted: Mounted}
	p.progress.send(Event{Kind: cmp.Or(kinds[how], Pushed), Digest: d.Digest})
	return nil
}

// A meteredFile tells how much of it was read.
type meteredFile struct {
	io.ReadSeeker
	meter meter
}

// Read implements io.Reader.
func (m *meteredFile) Read(p []byte) (int, error) {
	n, err := m.ReadSeeker.Read(p)
	m.meter.add(n)
	return n, err
}

// Seek implements io.Seeker.
func (m *meteredFile) Seek(offset int64, whence int) (int64, error) {
	at, err := m.ReadSeeker.Seek(offset, whence)
	m.meter.event.Current = at
	return at, err
}
