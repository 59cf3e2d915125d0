package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/registry"
)

// A ManifestList is a multi-platform image in the making, of images that registries have: nothing of them is pulled. It is kept in the
// engine's folder until it is removed. For images of the store there is [image.Store.MakeIndex].
type ManifestList struct {
	// Name is the image's name to be, fully.
	Name string
	// Manifests are the images, in the order in which they were added.
	Manifests []ListedManifest
}

// A ListedManifest is an image of a list.
type ListedManifest struct {
	// Ref is the name that the registry has it by, fully.
	Ref string
	// Descriptor says its digest, and for what platform it is.
	ocispec.Descriptor
}

const (
	// maxListed bounds the images of a list, as an index has one for each platform.
	maxListed = 1000
	// maxListFile bounds a list's document in bytes.
	maxListFile = 1 << 20
)

// Index is the document that a push of the list makes: an OCI index, or if all its images are Docker's, Docker's manifest list.
func (l *ManifestList) Index() *ocispec.Index {
	x := &ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: registry.MediaTypeDockerManifestList, Manifests: []ocispec.Descriptor{}}
	for _, m := range l.Manifests {
		if m.MediaType != registry.MediaTypeDockerManifest {
			x.MediaType = ocispec.MediaTypeImageIndex
		}
		x.Manifests = append(x.Manifests, m.Descriptor)
	}
	return x
}

// find returns the place of the image that the list has by a name, or -1.
func (l *ManifestList) find(ref string) int {
	for i := range l.Manifests {
		if l.Manifests[i].Ref == ref {
			return i
		}
	}
	return -1
}

// CreateManifestList makes a list of images that registries have, whose platforms are asked for. A list of that name is a [Conflict], unless
// amend is set: then they are added to it, and those that it has already are asked for anew. An image that is for several platforms itself
// is refused.
func (e *Engine) CreateManifestList(ctx context.Context, name string, refs []string, amend bool) (*ManifestList, error) {
	if len(refs) == 0 {
		return nil, invalid("a manifest list of no images")
	}
	var found []ListedManifest
	for _, ref := range refs {
		r, err := registry.ParseReference(ref)
		if err != nil {
			return nil, &Error{Kind: Invalid, Message: ref, Err: err}
		}
		i, err := e.RemoteImage(ctx, ref, registry.Credential{})
		if err != nil {
			return nil, err
		}
		if registry.IsIndex(i.Descriptor.MediaType) {
			return nil, invalid("%s is a manifest list", r.Familiar())
		}
		m := ListedManifest{r.String(), ocispec.Descriptor{MediaType: i.Descriptor.MediaType, Digest: i.Descriptor.Digest, Size: i.Descriptor.Size}}
		if len(i.Platforms) > 0 {
			m.Platform = &i.Platforms[0]
		}
		found = append(found, m)
	}
	var made *ManifestList
	err := e.withManifestList(ctx, name, func(l *ManifestList) (*ManifestList, error) {
		switch {
		case l == nil:
			r, err := registry.ParseReference(name)
			if err != nil {
				return nil, err
			}
			l = &ManifestList{Name: r.String()}
		case !amend:
			return nil, conflict("refusing to amend an existing manifest list: %s", l.Name)
		}
		for _, m := range found {
			if i := l.find(m.Ref); i >= 0 {
				l.Manifests[i] = m
			} else {
				l.Manifests = append(l.Manifests, m)
			}
		}
		if len(l.Manifests) > maxListed {
			return nil, invalid("a manifest list of %d images: at most %d", len(l.Manifests), maxListed)
		}
		made = l
		return l, nil
	})
	return made, err
}

// AnnotateManifestList says for what platform an image of a list is. What is empty in p stays.
func (e *Engine) AnnotateManifestList(ctx context.Context, name, ref string, p ocispec.Platform) error {
	r, err := registry.ParseReference(ref)
	if err != nil {
		return &Error{Kind: Invalid, Message: ref, Err: err}
	}
	return e.withManifestList(ctx, name, func(l *ManifestList) (*ManifestList, error) {
		if l == nil {
			return nil, notFound("No such manifest: %s", name)
		}
		i := l.find(r.String())
		if i < 0 {
			return nil, notFound("manifest for image %s does not exist in %s", ref, name)
		}
		if l.Manifests[i].Platform == nil {
			l.Manifests[i].Platform = &ocispec.Platform{}
		}
		to := l.Manifests[i].Platform
		for _, f := range []struct {
			to    *string
			value string
		}{{&to.OS, p.OS}, {&to.Architecture, p.Architecture}, {&to.Variant, p.Variant}, {&to.OSVersion, p.OSVersion}} {
			if f.value != "" {
				*f.to = f.value
			}
		}
		if len(p.OSFeatures) > 0 {
			to.OSFeatures = p.OSFeatures
		}
		return l, nil
	})
}

// ManifestList returns a list by its name.
func (e *Engine) ManifestList(ctx context.Context, name string) (l *ManifestList, err error) {
	err = e.withManifestList(ctx, name, func(have *ManifestList) (*ManifestList, error) {
		if l = have; l == nil {
			return nil, notFound("No such manifest: %s", name)
		}
		return l, nil
	})
	return l, err
}

// RemoveManifestList forgets a list. What a registry has of it stays.
func (e *Engine) RemoveManifestList(ctx context.Context, name string) error {
	return e.withManifestList(ctx, name, func(l *ManifestList) (*ManifestList, error) {
		if l == nil {
			return nil, notFound("No such manifest: %s", name)
		}
		return nil, nil
	})
}

// withManifestList calls f with the list of that name, nil if there is none, and keeps what it returns, nil for none, if that is another.
func (e *Engine) withManifestList(ctx context.Context, name string, f func(*ManifestList) (*ManifestList, error)) (err error) {
	r, err := registry.ParseReference(name)
	if err == nil && r.Digest != "" {
		err = fmt.Errorf("%w: the name has a digest", registry.ErrInvalidReference)
	}
	if err != nil {
		return &Error{Kind: Invalid, Message: name, Err: err}
	}
	dir := filepath.Join(e.dir, "manifests")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := durable.Acquire(ctx, filepath.Join(dir, "lock"), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	sum := sha256.Sum256([]byte(r.String())) // a name may be longer than a file's
	path := filepath.Join(dir, hex.EncodeToString(sum[:])+".json")
	have := &ManifestList{}
	if err := durable.ReadJSON(path, maxListFile, have); errors.Is(err, fs.ErrNotExist) {
		have = nil
	} else if err != nil {
		return err
	}
	before, err := json.MarshalIndent(have, "", "  ") // as it is written
	if err != nil {
		return err
	}
	l, err := f(have)
	if err != nil {
		return err
	}
	if l == nil {
		return os.Remove(path)
	}
	after, err := json.MarshalIndent(l, "", "  ")
	if err != nil || string(after) == string(before) {
		return err
	}
	if len(after) >= maxListFile { // which could not be read again
		return invalid("manifest list %s: its document is too long: %d bytes", l.Name, len(after))
	}
	return durable.WriteJSON(path, l, 0o600)
}

// PushManifestList puts a list into the registry of its name and returns the digest under which that has it. Images of other repositories are
// put beside it: of the same registry it takes their blobs over, from others they are copied.
func (e *Engine) PushManifestList(ctx context.Context, name string) (digest.Digest, error) {
	l, err := e.ManifestList(ctx, name)
	if err != nil {
		return "", err
	}
	to, err := registry.ParseReference(l.Name)
	if err != nil {
		return "", err
	}
	c, done := e.client(to.Host, registry.Credential{})
	defer done()
	for _, m := range l.Manifests {
		if m.Platform == nil || m.Platform.OS == "" || m.Platform.Architecture == "" {
			return "", invalid("manifest %s must have an OS and Architecture to be pushed to a registry", m.Ref)
		}
		from, err := registry.ParseReference(m.Ref)
		if err != nil {
			return "", err
		}
		if from.Name() == to.Name() {
			continue
		}
		if err := copyManifest(ctx, c, from, to, m.Descriptor); err != nil {
			return "", fmt.Errorf("push manifest list %s: %s: %w", to.Familiar(), from.Familiar(), err)
		}
	}
	b, err := json.Marshal(l.Index())
	if err != nil {
		return "", err
	}
	if err := c.PushManifest(ctx, to, ocispec.Descriptor{MediaType: l.Index().MediaType}, b); err != nil {
		return "", err
	}
	return digest.FromBytes(b), nil
}

// copyManifest puts an image of another repository, and its blobs, into a repository.
func copyManifest(ctx context.Context, c *registry.Client, from, to registry.Reference, desc ocispec.Descriptor) error {
	from.Tag, from.Digest, to.Tag, to.Digest = "", desc.Digest, "", desc.Digest
	_, b, err := c.Manifest(ctx, from)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for _, blob := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		source := &lazyBlob{open: func() (io.ReadCloser, error) { return c.Blob(ctx, from, blob) }}
		up := registry.BlobUpload{Descriptor: blob, Content: source}
		if from.Host == to.Host {
			up.MountFrom = from.Repository
		}
		_, err := c.PushBlob(ctx, to, up)
		if err = errors.Join(err, source.Close()); err != nil {
			return err
		}
	}
	return c.PushManifest(ctx, to, ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: int64(len(b))}, b)
}

// A lazyBlob is opened when it is first read.
type lazyBlob struct {
	open func() (io.ReadCloser, error)
	r    io.ReadCloser
}

func (l *lazyBlob) Read(b []byte) (int, error) {
	if l.r == nil {
		var err error
		if l.r, err = l.open(); err != nil {
			return 0, err
		}
	}
	return l.r.Read(b)
}

func (l *lazyBlob) Close() error {
	if l.r == nil {
		return nil
	}
	return l.r.Close()
}
