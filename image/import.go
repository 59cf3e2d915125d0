package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// Import copies images from an OCI image layout into the store: those of its index.json that have names, under these
// names, read by Docker's rules, and those that have none. Manifests that an index lists may be missing, as in a store;
// everything else must be there, and is verified. The layers are extracted when the image is first got. It returns the
// names; all images are in the store when it returns without an error, and none is named before all are.
func (s *Store) Import(ctx context.Context, layout fs.FS) (names []string, err error) {
	names, err = s.importFrom(ctx, layout)
	if err != nil {
		return nil, fmt.Errorf("import images: %w", err)
	}
	return names, nil
}

func (s *Store) importFrom(ctx context.Context, layout fs.FS) (names []string, err error) {
	b, err := readFS(layout, ocispec.ImageIndexFile, maxIndexJSON)
	if err != nil {
		return nil, err
	}
	x, err := parseIndexJSON(b)
	if err != nil {
		return nil, err
	}
	im := &importer{s: s, from: layout, seen: map[digest.Digest]bool{}}
	for _, e := range x.Manifests {
		// A name with a digest that is not the image's would be found in place of the right one.
		if r, err := registry.ParseReference(entryName(e)); err == nil && r.Digest != "" && r.Digest != e.Digest {
			return nil, invalid("name %.200q is of another digest than %s", entryName(e), e.Digest)
		}
		if err := im.walk(e, 0); err != nil {
			return nil, err
		}
	}
	l, err := s.lease(ctx, leaseFile{Blobs: im.digests()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	for _, d := range im.blobs {
		if err := im.copy(ctx, d); err != nil {
			return nil, err
		}
	}
	if err := s.syncBlobs(); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(own *ocispec.Index) (bool, error) {
		changed := false
		for _, e := range x.Manifests {
			d := ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size, ArtifactType: e.ArtifactType}
			if name := entryName(e); name != "" {
				names = append(names, name)
				changed = setName(own, name, d) || changed
			} else if !containsDigest(own.Manifests, e.Digest) {
				own.Manifests, changed = append(own.Manifests, d), true
			}
		}
		return changed, nil
	})
	return names, err
}

// An importer lists what the descriptors of a layout lead to: content first, then what describes it.
type importer struct {
	s     *Store
	from  fs.FS
	seen  map[digest.Digest]bool
	blobs []ocispec.Descriptor
	only  *ocispec.Platform // of each index; nil: all that is there
}

func (im *importer) digests() (list []digest.Digest) {
	for _, d := range im.blobs {
		list = append(list, d.Digest)
	}
	return list
}

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func (im *importer) walk(d ocispec.Descriptor, depth int) error {
	if im.seen[d.Digest] {
		return nil
	}
	im.seen[d.Digest] = true
	if depth > maxNesting {
		return invalid("indexes nested more than %d deep", maxNesting)
	}
	isIndex := registry.IsIndex(d.MediaType)
	if isIndex || registry.IsManifest(d.MediaType) {
		next, err := im.children(d, isIndex)
		if err != nil {
			return err
		}
		for _, c := range next {
			if err := im.walk(c, depth+1); err != nil {
				return err
			}
		}
	}
	im.blobs = append(im.blobs, d)
	return nil
}

// children returns what a manifest or an index refers to and the layout must have.
func (im *importer) children(d ocispec.Descriptor, isIndex bool) ([]ocispec.Descriptor, error) {
	b, err := readFS(im.from, blobName(d.Digest), maxManifest)
	if err != nil {
		return nil, err
	}
	if err := fitsDigest(ocispec.Descriptor{Digest: d.Digest, Size: d.Size}, b); err != nil {
		return nil, err
	}
	if !isIndex {
		m, err := parseAnyManifest(b, d.MediaType)
		if err != nil {
			return nil, err
		}
		return append([]ocispec.Descriptor{m.Config}, m.Layers...), nil
	}
	x, err := parseIndex(b, d.MediaType)
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(x.Manifests, func(m ocispec.Descriptor) bool {
		_, err := fs.Stat(im.from, blobName(m.Digest))
		return errors.Is(err, fs.ErrNotExist)
	})
	if im.only == nil {
		return list, nil
	}
	if i := choosePlatform(*im.only, list); i >= 0 {
		return list[i : i+1], nil
	}
	var have []ocispec.Platform
	list = slices.DeleteFunc(list, func(m ocispec.Descriptor) bool {
		if m.Platform != nil {
			have = append(have, *m.Platform)
		}
		return m.Platform != nil
	})
	if len(list) == 0 {
		return nil, newPlatformError(d.Digest.String(), *im.only, have)
	}
	return list, nil
}

// copy takes one blob in, through the same gate as a pull does.
func (im *importer) copy(ctx context.Context, d ocispec.Descriptor) (err error) {
	in, _, err := im.s.ingest(ctx, d, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close(false)) }()
	if in.file == nil {
		return nil
	}
	f, err := im.from.Open(blobName(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := in.restart(); err != nil {
		return err
	}
	v := d.Digest.Verifier()
	src := io.LimitReader(&ctxReader{ctx, f}, d.Size+1)
	n, err := io.Copy(io.MultiWriter(in.file, v), src)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if n != d.Size || !v.Verified() {
		return invalid("blob %s: content is not what its name says", d.Digest)
	}
	if err := in.file.Sync(); err != nil {
		return err
	}
	return in.commit()
}

// readFS reads a file of at most limit bytes.
func readFS(from fs.FS, name string, limit int64) ([]byte, error) {
	f, err := from.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = invalid("%s: more than %d bytes", name, limit)
	}
	return b, err
}
