package engine

import (
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// Save writes images to a tar archive; see [image.Store.Save].
func (e *Engine) Save(ctx context.Context, w io.Writer, refs []string, o *image.SaveOptions) error {
	for _, ref := range refs {
		if _, err := e.images.Lookup(ctx, ref, nil); errors.Is(err, image.ErrNotFound) {
			return notFound("No such image: %s", registry.Familiar(ref))
		}
	}
	err := e.images.Save(ctx, w, refs, o)
	if err == nil {
		for _, ref := range refs {
			e.noteImage("save", registry.Familiar(ref), ref)
		}
	}
	return err
}

// Load brings in the images of a tar archive; see [image.Store.Load].
func (e *Engine) Load(ctx context.Context, r io.Reader, o *image.LoadOptions) ([]image.Loaded, error) {
	list, err := e.images.Load(ctx, r, o)
	if errors.Is(err, image.ErrInvalid) {
		return nil, &Error{Kind: Invalid, Message: "load", Err: err}
	}
	for _, l := range list {
		e.noteImage("load", l.ID.String(), cmp.Or(l.Name, l.ID.String()))
	}
	return list, err
}

// PushOptions change how an image is pushed.
type PushOptions struct {
	// Platform, such as "linux/arm64", pushes of a multi-platform image this platform alone. Empty means all of it, or if not all
	// of it is in the store the platform that suits the machine.
	Platform string
	// Credential, if it is not zero, is shown to the registry in place of what Options.Client has.
	Credential registry.Credential
	// Progress is told how the push goes on, by several goroutines, one at a time. Nil is nobody.
	Progress func(image.Event)
}

// Push sends an image to its registry, and returns the digest under which that has it; see [image.Push].
func (e *Engine) Push(ctx context.Context, ref string, o *PushOptions) (digest.Digest, error) {
	if o == nil {
		o = &PushOptions{}
	}
	if _, err := e.ImageFor(ctx, ref, o.Platform); err != nil {
		return "", err
	}
	r, err := registry.ParseReference(ref)
	if err != nil {
		return "", &Error{Kind: Invalid, Message: ref, Err: err}
	}
	client, done := e.client(r.Host, o.Credential)
	defer done()
	d, err := image.Push(ctx, e.images, ref, &image.PushOptions{Client: client, Platform: o.Platform, Progress: o.Progress})
	if err == nil {
		e.noteImage("push", registry.Familiar(ref), ref)
	}
	return d, err
}

// Tags lists the tags of a repository in its registry, which is shown cred in place of what Options.Client has if it is not zero.
func (e *Engine) Tags(ctx context.Context, repository string, cred registry.Credential) ([]string, error) {
	r, err := registry.ParseReference(repository)
	if err != nil {
		return nil, &Error{Kind: Invalid, Message: repository, Err: err}
	}
	c, done := e.client(r.Host, cred)
	defer done()
	return c.Tags(ctx, r)
}

// SearchImages lists the images that a filter chooses.
func (e *Engine) SearchImages(ctx context.Context, f *image.Filter) ([]*image.Summary, error) {
	list, err := e.images.Search(ctx, f)
	if errors.Is(err, image.ErrNotFound) {
		return nil, &Error{Kind: NotFound, Message: "filter", Err: err}
	}
	return list, err
}

// PruneImages deletes the images that have no name and, with all set, those that no container uses, of which f, if it is
// not nil, chooses; and what no image needs.
func (e *Engine) PruneImages(ctx context.Context, all bool, f *image.Filter) (*image.Removed, error) {
	removed, err := e.images.Prune(ctx, &image.PruneOptions{Untagged: true, Unused: all, Filter: f, InUse: e.imageUser})
	e.noteRemoved(removed)
	return removed, err
}

// ContentSize returns the sum of the sizes of an image's blobs as they came, compressed, in bytes.
func (e *Engine) ContentSize(i *image.Summary) (int64, error) { return e.images.ContentSize(i) }

// ManifestSize returns the size in bytes of a manifest or index of the store.
func (e *Engine) ManifestSize(d digest.Digest) (int64, error) {
	f, err := e.images.OpenBlob(d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
