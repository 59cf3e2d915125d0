package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// PullOptions change how an image is pulled.
type PullOptions struct {
	// Platform, such as "linux/arm64". Empty means the machine's.
	Platform string
	// AllPlatforms brings in all platforms, and what else a multi-platform image lists.
	AllPlatforms bool
	// Progress is told how the pull goes on, by several goroutines, one at a time. Nil is nobody.
	Progress func(image.Event)
}

// Pull gets an image from its registry. The image hello-world:latest comes from the registry that the engine carries,
// unless Options turned that off: see [Engine.Carried].
func (e *Engine) Pull(ctx context.Context, ref string, o *PullOptions) (*image.Image, error) {
	if o == nil {
		o = &PullOptions{}
	}
	r, err := registry.ParseReference(ref)
	if err != nil {
		return nil, &Error{Kind: Invalid, Message: ref, Err: err}
	}
	po := &image.PullOptions{Client: e.options.Client, Platform: o.Platform, AllPlatforms: o.AllPlatforms, Progress: o.Progress}
	if e.carried(r) {
		client, stop, err := e.serveHelloWorld()
		if err != nil {
			return nil, err
		}
		defer stop()
		po.Client = client
	}
	return image.Pull(ctx, e.images, ref, po)
}

// Image returns the image that ref names, or a [NotFound] error.
func (e *Engine) Image(ctx context.Context, ref string) (*image.Image, error) {
	return e.ImageFor(ctx, ref, "")
}

// ImageFor returns the image that ref names for a platform such as "linux/arm64", as [Config].Platform chooses it. If it is
// there for other platforms only, the error is a [NotFound] too, and wraps an *image.PlatformError.
func (e *Engine) ImageFor(ctx context.Context, ref, platform string) (*image.Image, error) {
	img, err := e.images.Get(ctx, ref, &image.GetOptions{Platform: platform})
	var other *image.PlatformError
	switch {
	case errors.As(err, &other):
		return nil, &Error{Kind: NotFound, Message: "No such image", Err: other}
	case errors.Is(err, image.ErrNotFound):
		return nil, &Error{Kind: NotFound, Message: "No such image: " + familiar(ref)}
	}
	return img, err
}

// familiar adds the tag that is meant when there is none.
func familiar(ref string) string {
	r, err := registry.ParseReference(ref)
	if err != nil {
		return ref
	}
	return r.Familiar()
}

// Images lists the images.
func (e *Engine) Images(ctx context.Context) ([]*image.Image, error) { return e.images.List(ctx) }

// Tag gives an image another name.
func (e *Engine) Tag(ctx context.Context, ref, name string) error {
	return e.images.Tag(ctx, ref, name)
}

// RemoveImageOptions change how an image is removed.
type RemoveImageOptions struct {
	// Force removes all names of an image given by its ID, and the image though containers that do not run use it.
	Force bool
}

// RemoveImage takes the name ref from an image, and removes the image when it was the last. An image that a container
// uses is a [Conflict], unless Force is set: then it loses its names and is kept for the container.
func (e *Engine) RemoveImage(ctx context.Context, ref string, o *RemoveImageOptions) (*image.Removed, error) {
	if o == nil {
		o = &RemoveImageOptions{}
	}
	removed, err := e.images.Remove(ctx, ref, &image.RemoveOptions{Force: o.Force, InUse: e.imageUser})
	switch {
	case errors.Is(err, image.ErrNotFound):
		return nil, notFound("No such image: %s", familiar(ref))
	case errors.Is(err, image.ErrInUse), errors.Is(err, image.ErrConflict):
		return nil, &Error{Kind: Conflict, Message: "conflict: unable to remove " + familiar(ref) + " (force does)", Err: err}
	}
	return removed, err
}

// imageUser says which container uses an image. A container that is being made holds its image: so there is no time at which
// neither its document nor its hold is to be seen.
func (e *Engine) imageUser(img *image.Image) string {
	ids, err := e.ids()
	if err != nil {
		return err.Error() // nobody knows
	}
	for _, id := range ids {
		c, err := readRecord(e.path(id))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "container " + shortID(id) + ", which cannot be read, for all that is known"
		case c.ImageID == img.ID || slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.ImageID == img.ID }):
			return "container " + c.ShortID()
		}
	}
	return ""
}
