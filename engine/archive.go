package engine

import (
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
			return notFound("No such image: %s", familiar(ref))
		}
	}
	return e.images.Save(ctx, w, refs, o)
}

// Load brings in the images of a tar archive; see [image.Store.Load].
func (e *Engine) Load(ctx context.Context, r io.Reader, o *image.LoadOptions) ([]image.Loaded, error) {
	list, err := e.images.Load(ctx, r, o)
	if errors.Is(err, image.ErrInvalid) {
		return nil, &Error{Kind: Invalid, Message: "load", Err: err}
	}
	return list, err
}

// Push sends an image to its registry, and returns the digest under which that has it; see [image.Push]. The client of
// o is not looked at: it is the engine's.
func (e *Engine) Push(ctx context.Context, ref string, o *image.PushOptions) (digest.Digest, error) {
	var po image.PushOptions
	if o != nil {
		po = *o
	}
	po.Client = e.options.Client
	if _, err := e.Image(ctx, ref); err != nil {
		return "", err
	}
	return image.Push(ctx, e.images, ref, &po)
}

// Tags lists the tags of a repository in its registry.
func (e *Engine) Tags(ctx context.Context, repository string) ([]string, error) {
	r, err := registry.ParseReference(repository)
	if err != nil {
		return nil, &Error{Kind: Invalid, Message: repository, Err: err}
	}
	c := e.options.Client
	if c == nil {
		c = &registry.Client{}
		defer c.CloseIdleConnections()
	}
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
	return e.images.Prune(ctx, &image.PruneOptions{Untagged: true, Unused: all, Filter: f, InUse: e.imageUser})
}
