package engine

import (
	"context"
	"errors"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// PullOptions change how an image is pulled.
type PullOptions struct {
	// Platform, such as "linux/arm64". Empty means the machine's.
	Platform string
	// AllPlatforms brings in all platforms, and what else a multi-platform image lists.
	AllPlatforms bool
	// Credential, if it is not zero, is shown to the image's registry in place of what Options.Client has.
	Credential registry.Credential
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
	client, done := e.client(r.Host, o.Credential)
	defer done()
	po := &image.PullOptions{Client: client, Platform: o.Platform, AllPlatforms: o.AllPlatforms, Progress: o.Progress}
	if e.carried(r) {
		carried, stop, err := e.serveHelloWorld()
		if err != nil {
			return nil, err
		}
		defer stop()
		po.Client = carried
	}
	img, err := image.Pull(ctx, e.images, ref, po)
	if err == nil {
		e.noteImage("pull", registry.Familiar(ref), ref)
	}
	return img, err
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
		return nil, &Error{Kind: NotFound, Message: "No such image: " + registry.Familiar(ref)}
	}
	return img, err
}

// Images lists the images.
func (e *Engine) Images(ctx context.Context) ([]*image.Image, error) { return e.images.List(ctx) }

// Tag gives an image another name.
func (e *Engine) Tag(ctx context.Context, ref, name string) error {
	err := e.images.Tag(ctx, ref, name)
	if err == nil {
		if img, err := e.Image(ctx, name); err == nil {
			e.noteImage("tag", img.ID.String(), name)
		}
	}
	switch {
	case errors.Is(err, image.ErrNotFound):
		return notFound("No such image: %s", registry.Familiar(ref))
	case errors.Is(err, registry.ErrInvalidReference):
		return &Error{Kind: Invalid, Message: "tag", Err: err}
	}
	return err
}
