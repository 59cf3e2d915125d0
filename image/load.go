package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// LoadOptions are the options of [Store.Load].
type LoadOptions struct {
	// MaxSize bounds the sum of the sizes of the archive's members in bytes, uncompressed. 0 means 128 GiB.
	MaxSize int64

	// Limits bounds what is extracted of each layer; its MediaType and DiffID are not looked at. nil means the defaults.
	Limits *layer.ExtractOptions

	// Platform, such as "linux/arm64", brings in of each image this platform alone. An image that the archive has not for it is
	// a *PlatformError. "" brings in all that is there.
	Platform string
}

// Loaded is an image that Load brought in.
type Loaded struct {
	// Name is the full name that it has now; "" for one that has none in the archive.
	Name string

	// ID is the image's, of LoadOptions.Platform or, if there are several, of the platform that suits this program.
	ID digest.Digest
}

const maxManifestJSON = 16 << 20

// Load brings in the images of an archive: what docker save writes and wrote (manifest.json, with or without an OCI image
// layout beside it), and tar archives of OCI image layouts, as podman, buildx and skopeo write them; plain, or compressed
// by gzip, zstd or bzip2. The stream is read once, to its end. All that it says is verified, and the layers are
// extracted, before any image gets its name: when Load fails, the store has no image more than before.
//
// Errors: *PlatformError; ErrInvalid, also for an archive with members outside of it, of other types than files, folders and links, or
// twice; errors.ErrUnsupported; layer's.
func (s *Store) Load(ctx context.Context, r io.Reader, o *LoadOptions) ([]Loaded, error) {
	if o == nil {
		o = &LoadOptions{}
	}
	done, err := s.load(ctx, r, *o)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	return done, nil
}

func (s *Store) load(ctx context.Context, r io.Reader, o LoadOptions) (_ []Loaded, err error) {
	if o.MaxSize == 0 {
		o.MaxSize = maxArchive
	}
	want, err := parsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	st, err := s.stage(ctx, r, o.MaxSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	l := &loader{s: s, st: st, o: o, want: want}
	switch {
	case st.has(ocispec.ImageIndexFile):
		err = l.layout()
	case st.has(dockerManifestFile):
		err = l.docker()
	default:
		err = invalid("archive has neither %s nor %s", ocispec.ImageIndexFile, dockerManifestFile)
	}
	if err != nil {
		return nil, err
	}
	return l.run(ctx)
}

// A loader is one call of Load.
type loader struct {
	s     *Store
	st    *staging
	o     LoadOptions
	want  ocispec.Platform
	todo  []loadable
	added []digest.Digest // blobs that were not in the store before
}

// A loadable is an entry of the archive: a manifest or an index, and a full name, or "".
type loadable struct {
	desc ocispec.Descriptor
	name string
}

// layout reads index.json. manifest.json, if there is one, says the same again in another way.
func (l *loader) layout() error {
	b, err := readFS(l.st, ocispec.ImageIndexFile, maxIndexJSON)
	if err != nil {
		return err
	}
	var x ocispec.Index
	if err := json.Unmarshal(b, &x); err != nil {
		return invalid("%s: %v", ocispec.ImageIndexFile, err)
	}
	for _, e := range x.Manifests {
		if err := checkDescriptor(e); err != nil {
			return fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
		}
		name := e.Annotations[containerdName]
		if name == "" {
			name = e.Annotations[ocispec.AnnotationRefName]
		}
		full, err := loadName(name, e.Digest)
		if err != nil {
			return err
		}
		d := ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size, ArtifactType: e.ArtifactType}
		l.todo = append(l.todo, loadable{d, full})
	}
	return nil
}

// loadName reads a name in an archive by Docker's rules. One with a digest must be true.
func loadName(name string, d digest.Digest) (string, error) {
	if name == "" {
		return "", nil
	}
	r, err := registry.ParseReference(name)
	if err != nil {
		return "", invalid("name %.200q: %v", name, err)
	}
	if r.Digest != "" && r.Digest != d {
		return "", invalid("name %.200q is of another digest than %s", name, d)
	}
	return storedName(r), nil
}

// docker reads manifest.json of archives that have no layout, and makes manifests for them.
func (l *loader) docker() error {
	b, err := readFS(l.st, dockerManifestFile, maxManifestJSON)
	if err != nil {
		return err
	}
	var list []dockerManifest
	if err := json.Unmarshal(b, &list); err != nil {
		return invalid("%s: %v", dockerManifestFile, err)
	}
	for _, m := range list {
		desc, err := l.convert(m)
		if err != nil {
			return err
		}
		if len(m.RepoTags) == 0 {
			l.todo = append(l.todo, loadable{desc, ""})
		}
		for _, tag := range m.RepoTags {
			full, err := loadName(tag, desc.Digest)
			if err != nil {
				return err
			}
			l.todo = append(l.todo, loadable{desc, full})
		}
	}
	return nil
}

// convert makes an OCI manifest of an entry of manifest.json, and gives the members the names that they would have in a
// layout. The configuration stays as it is, and with it the image's ID.
func (l *loader) convert(m dockerManifest) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	config, err := l.adopt(m.Config, ocispec.MediaTypeImageConfig)
	if err != nil {
		return none, err
	}
	if len(m.Layers) > maxLayers {
		return none, invalid("%d layers; at most %d can be mounted", len(m.Layers), maxLayers)
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: []ocispec.Descriptor{},
	}
	for _, name := range m.Layers {
		mediaType, err := l.layerType(name)
		if err != nil {
			return none, err
		}
		d, err := l.adopt(name, mediaType)
		if err != nil {
			return none, err
		}
		manifest.Layers = append(manifest.Layers, d)
	}
	b, err := marshal(manifest)
	if err != nil {
		return none, err
	}
	d := newDocument(manifest.MediaType, b)
	file := path.Join(l.st.dir, d.desc.Digest.Encoded())
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return none, err
	}
	l.st.files[blobName(d.desc.Digest)] = member{file, d.desc.Digest, d.desc.Size}
	return d.desc, nil
}

// adopt makes a member a blob.
func (l *loader) adopt(name, mediaType string) (ocispec.Descriptor, error) {
	m, ok := l.st.find(name)
	if !ok {
		return ocispec.Descriptor{}, invalid("%s: archive has no member %.200q", dockerManifestFile, name)
	}
	l.st.files[blobName(m.digest)] = m
	return ocispec.Descriptor{MediaType: mediaType, Digest: m.digest, Size: m.size}, nil
}

func (l *loader) layerType(name string) (string, error) {
	f, err := l.st.Open(name)
	if err != nil {
		return "", invalid("%s: archive has no member %.200q", dockerManifestFile, name)
	}
	defer f.Close()
	_, mediaType, err := layerType(f)
	return mediaType, err
}

// run brings in what was read.
func (l *loader) run(ctx context.Context) (_ []Loaded, err error) {
	im := &importer{s: l.s, from: l.st, seen: map[digest.Digest]bool{}}
	if l.o.Platform != "" {
		im.only = &l.want
	}
	for _, t := range l.todo {
		if err := im.walk(t.desc, 0); errors.Is(err, fs.ErrNotExist) {
			return nil, invalid("archive lacks a blob: %v", err)
		} else if err != nil {
			return nil, err
		}
	}
	lease, err := l.s.lease(ctx, leaseFile{Blobs: im.digests()})
	if err != nil {
		return nil, err
	}
	var images []*Image
	defer func() {
		err = errors.Join(err, lease.release())
		if err != nil {
			var layers []digest.Digest
			for _, i := range images {
				layers = append(layers, i.Config.RootFS.DiffIDs...)
			}
			err = errors.Join(err, l.s.discard(context.WithoutCancel(ctx), l.added, layers))
		}
	}()
	for _, d := range im.blobs {
		if err := l.take(ctx, d); err != nil {
			return nil, err
		}
	}
	if err := l.s.syncBlobs(); err != nil {
		return nil, err
	}
	done, images, err := l.extract(ctx)
	if err != nil {
		return nil, err
	}
	return done, l.s.update(ctx, func(x *ocispec.Index) (changed bool, err error) {
		for _, t := range l.todo {
			if t.name != "" {
				changed = setName(x, t.name, t.desc) || changed
			} else if !containsDigest(x.Manifests, t.desc.Digest) {
				x.Manifests, changed = append(x.Manifests, t.desc), true
			}
		}
		return changed, nil
	})
}

// take moves a member into the store, through the same gate as a pull's blobs.
func (l *loader) take(ctx context.Context, d ocispec.Descriptor) (err error) {
	m, ok := l.st.find(blobName(d.Digest))
	if !ok {
		return invalid("archive has no blob %s", d.Digest)
	}
	in, _, err := l.s.ingest(ctx, d, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close(false)) }()
	if in.file == nil {
		return nil
	}
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if m.size != d.Size || d.Digest.Algorithm() == digest.Canonical && m.digest != d.Digest {
		return invalid("blob %s: content is not what its name says", d.Digest)
	}
	if m.digest != d.Digest {
		v := d.Digest.Verifier()
		if _, err := io.Copy(v, &ctxReader{ctx, f}); err != nil {
			return err
		}
		if !v.Verified() {
			return invalid("blob %s: content is not what its name says", d.Digest)
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// A link, since the archive may have the same file under several names.
	if err := errors.Join(removeIfThere(in.file.Name()), os.Link(m.path, in.file.Name())); err != nil {
		return err
	}
	l.added = append(l.added, d.Digest)
	return in.commit()
}

// extract extracts the layers of all images, and so verifies their diffIDs.
func (l *loader) extract(ctx context.Context) (done []Loaded, all []*Image, err error) {
	for _, t := range l.todo {
		list, err := l.s.loadTarget(t.desc)
		if errors.Is(err, ErrNotImage) && !errors.Is(err, ErrInvalid) {
			continue // an artifact, which is kept as it is
		}
		if err != nil {
			return nil, all, err
		}
		i := best(l.want, list)
		if l.o.Platform != "" {
			if i == nil {
				return nil, all, newPlatformError(cmp.Or(t.name, t.desc.Digest.String()), l.want, platformsOf(list))
			}
			list = []*Image{i}
		}
		all = append(all, list...)
		for _, i := range list {
			if i.Layers != nil {
				continue
			}
			if err := l.s.unpackLimited(ctx, i, l.o.Limits); err != nil {
				return nil, all, err
			}
		}
		if len(list) == 0 {
			return nil, all, invalid("%s: none of its platforms is in the archive", t.desc.Digest)
		}
		if i == nil {
			i = list[0]
		}
		done = append(done, Loaded{t.name, i.ID})
	}
	if len(done) == 0 {
		return nil, all, invalid("archive has no image")
	}
	return done, all, nil
}

func platformsOf(list []*Image) (p []ocispec.Platform) {
	for _, i := range list {
		p = append(p, i.Config.Platform)
	}
	return p
}

// discard deletes those of the blobs and layers that nothing leads to.
func (s *Store) discard(ctx context.Context, blobs, layers []digest.Digest) error {
	return s.locked(ctx, func() error {
		x, err := s.readIndex()
		if err != nil {
			return err
		}
		alive := s.newReach()
		for _, e := range x.Manifests {
			alive.add(e)
		}
		used, err := s.leased()
		if err != nil || len(alive.errs) > 0 {
			return err // what damaged images need is not known
		}
		del := &deletion{s: s, index: x}
		var errs []error
		for _, d := range slices.Backward(blobs) {
			if _, keep := alive.blobs[d]; !keep && !used.blobs[d] {
				errs = append(errs, del.blob(d))
			}
		}
		for _, d := range layers {
			if !alive.layers[d] && !used.layers[d] {
				errs = append(errs, del.layer(ctx, d))
			}
		}
		return errors.Join(errs...)
	})
}
