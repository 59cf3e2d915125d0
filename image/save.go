package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// A Format is how an archive of images is laid out.
type Format string

const (
	// DockerArchive is what docker save writes since Docker 25: an OCI image layout with Docker's manifest.json beside it,
	// so that readers of either find their way. An image for several platforms is in manifest.json by the one that suits
	// this program.
	DockerArchive Format = "docker-archive"
	// OCIArchive is an OCI image layout alone; of each name the annotation org.opencontainers.image.ref.name is the full
	// one, as in a store.
	OCIArchive Format = "oci-archive"

	containerdName     = "io.containerd.image.name" // the annotation that Docker and containerd read
	dockerManifestFile = "manifest.json"
)

// SaveOptions are the options of [Store.Save].
type SaveOptions struct {
	// Format is DockerArchive or OCIArchive. "" means DockerArchive.
	Format Format

	// Platform, such as "linux/arm64", saves of each image this platform alone: then the digest is that of the platform's
	// manifest. "" saves what is in the store of the image as it is, its index included.
	Platform string
}

// dockerManifest is an entry of manifest.json.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Save writes images to an uncompressed tar archive, which [Store.Load], docker load, podman load and skopeo read. Each ref
// is as for Get, and is the image's name in the archive if it is one; a repository without a tag stands for all its
// names in the store, as with Docker. The same images give the same bytes.
func (s *Store) Save(ctx context.Context, w io.Writer, refs []string, o *SaveOptions) error {
	if o == nil {
		o = &SaveOptions{}
	}
	if err := s.save(ctx, w, refs, *o); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}

func (s *Store) save(ctx context.Context, w io.Writer, refs []string, o SaveOptions) (err error) {
	switch o.Format {
	case "":
		o.Format = DockerArchive
	case DockerArchive, OCIArchive:
	default:
		return fmt.Errorf("format %q: %w", o.Format, errors.ErrUnsupported)
	}
	v := &saver{s: s, o: o, seen: map[string]bool{}}
	if err := v.plan(refs); err != nil {
		return err
	}
	f := leaseFile{}
	for _, d := range v.blobs {
		f.Blobs = append(f.Blobs, d.Digest)
	}
	l, err := s.lease(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	return v.write(ctx, w)
}

// A saver is one call of Save.
type saver struct {
	s     *Store
	o     SaveOptions
	index ocispec.Index
	list  []dockerManifest
	blobs []ocispec.Descriptor
	seen  map[string]bool // digests and, with a blank before, names
}

func (v *saver) plan(refs []string) error {
	x, err := v.s.readIndex()
	if err != nil {
		return err
	}
	for _, ref := range refs {
		names := namesOf(x, ref)
		if len(names) == 0 {
			if err := v.add(x, ref, ""); err != nil {
				return fmt.Errorf("image %q: %w", ref, err)
			}
		}
		for _, n := range names {
			if err := v.add(x, n, n); err != nil {
				return fmt.Errorf("image %q: %w", ref, err)
			}
		}
	}
	return nil
}

// namesOf returns the names in the store that a reference stands for: itself, or for a repository all of its own.
func namesOf(x *ocispec.Index, ref string) (list []string) {
	r, err := registry.ParseReference(ref)
	if err != nil {
		return nil
	}
	if r.FamiliarName() == ref || r.Name() == ref {
		for _, e := range x.Manifests {
			n := entryName(e)
			if o, err := registry.ParseReference(n); err == nil && o.Name() == r.Name() && o.Digest == "" {
				list = append(list, n)
			}
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	if n := storedName(r); namedAt(x, n) >= 0 {
		return []string{n}
	}
	return nil
}

// add plans an image, under a name if it is not "".
func (v *saver) add(x *ocispec.Index, ref, name string) error {
	img, err := v.s.find(x, ref, v.o.Platform)
	if err != nil {
		return err
	}
	target := img.target
	if v.o.Platform != "" {
		target = ocispec.Descriptor{MediaType: img.manifestType, Digest: img.Manifest, Size: 0}
		b, err := v.s.OpenBlob(img.Manifest)
		if err != nil {
			return err
		}
		fi, err := b.Stat()
		if err = errors.Join(err, b.Close()); err != nil {
			return err
		}
		target.Size = fi.Size()
	}
	r := v.s.newReach()
	r.add(target)
	if err := errors.Join(r.errs...); err != nil {
		return err
	}
	for _, d := range r.order {
		if !v.seen[d.String()] {
			v.seen[d.String()] = true
			v.blobs = append(v.blobs, r.blobs[d])
		}
	}
	v.entry(target, name)
	v.docker(img, name)
	return nil
}

// entry adds an entry to the archive's index.json.
func (v *saver) entry(target ocispec.Descriptor, name string) {
	key := target.Digest.String() + " " + name
	if v.seen[key] {
		return
	}
	v.seen[key] = true
	e := ocispec.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
	if name != "" {
		e.Annotations = map[string]string{containerdName: name, ocispec.AnnotationRefName: name}
		if r, err := registry.ParseReference(name); err == nil && v.o.Format == DockerArchive && r.Tag != "" {
			e.Annotations[ocispec.AnnotationRefName] = r.Tag
		}
	}
	v.index.Manifests = append(v.index.Manifests, e)
}

// docker adds an entry to manifest.json: one for each image, with all its tags.
func (v *saver) docker(img *Image, name string) {
	config := blobName(img.ID)
	i := slices.IndexFunc(v.list, func(m dockerManifest) bool { return m.Config == config })
	if i < 0 {
		m := dockerManifest{Config: config, RepoTags: []string{}, Layers: []string{}}
		for _, l := range img.blobs {
			m.Layers = append(m.Layers, blobName(l.Digest))
		}
		i = len(v.list)
		v.list = append(v.list, m)
	}
	if r, err := registry.ParseReference(name); err == nil && r.Tag != "" && !slices.Contains(v.list[i].RepoTags, r.Familiar()) {
		v.list[i].RepoTags = append(v.list[i].RepoTags, r.Familiar())
	}
}

// write writes the documents that say what is there, then the blobs.
func (v *saver) write(ctx context.Context, w io.Writer) error {
	v.index.Versioned, v.index.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageIndex
	if v.index.Manifests == nil {
		v.index.Manifests = []ocispec.Descriptor{}
	}
	documents := []struct {
		name string
		v    any
	}{
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
		{ocispec.ImageIndexFile, v.index},
		{dockerManifestFile, v.list},
	}
	if v.o.Format == OCIArchive {
		documents = documents[:2]
	}
	t := tar.NewWriter(w)
	for _, d := range documents {
		b, err := marshal(d.v)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(memberHeader(d.name, int64(len(b)))); err != nil {
			return err
		}
		if _, err := t.Write(b); err != nil {
			return err
		}
	}
	for _, d := range v.blobs {
		if err := v.blob(ctx, t, d); err != nil {
			return err
		}
	}
	return t.Close()
}

func memberHeader(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

func (v *saver) blob(ctx context.Context, t *tar.Writer, d ocispec.Descriptor) error {
	f, err := v.s.OpenBlob(d.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	h := memberHeader(blobName(d.Digest), d.Size)
	if d.Size >= 8<<30 || len(h.Name) > 100 { // a name by SHA-512 is longer
		h.Format = tar.FormatPAX
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	src := &verifier{r: &ctxReader{ctx, f}, digest: d.Digest, sum: d.Digest.Verifier()}
	if _, err := io.Copy(t, src); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return nil
}
