package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// RemoveImageOptions change how an image is removed.
type RemoveImageOptions struct {
	// Force removes all names of an image given by its ID, and the image though containers that do not run use it.
	Force bool
}

// RemoveImage takes the name ref from an image, and removes the image when it was the last. An image that a container
// uses is a [Conflict], unless Force is set: then it loses its names and is kept for the container; but one that is given by its ID
// and whose container runs is a Conflict all the same.
func (e *Engine) RemoveImage(ctx context.Context, ref string, o *RemoveImageOptions) (*image.Removed, error) {
	if o == nil {
		o = &RemoveImageOptions{}
	}
	if o.Force {
		if img, named := e.lookup(ctx, ref); img != nil && !named {
			if u := e.userOf(img, true); u != nil {
				return nil, conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s",
					shortDigest(img), u.ShortID())
			}
		}
	}
	removed, err := e.images.Remove(ctx, ref, &image.RemoveOptions{Force: o.Force, InUse: e.imageUser})
	e.noteRemoved(removed)
	switch {
	case errors.Is(err, image.ErrNotFound):
		return nil, notFound("No such image: %s", registry.Familiar(ref))
	case errors.Is(err, image.ErrInUse), errors.Is(err, image.ErrConflict):
		return nil, e.imageConflict(ctx, ref, err)
	}
	return removed, err
}

// lookup finds an image, and says whether by one of its names; nil if there is none.
func (e *Engine) lookup(ctx context.Context, ref string) (img *image.Image, named bool) {
	img, err := e.images.Lookup(ctx, ref, nil)
	if err != nil {
		return nil, false
	}
	return img, slices.ContainsFunc(img.Names, func(n string) bool { return registry.Familiar(n) == registry.Familiar(ref) })
}

func shortDigest(img *image.Image) string { return shortID(img.ID.Encoded()) }

// imageConflict says in Docker's words why an image is not removed.
func (e *Engine) imageConflict(ctx context.Context, ref string, why error) error {
	img, named := e.lookup(ctx, ref)
	if img == nil { // it has gone meanwhile
		return &Error{Kind: Conflict, Message: "conflict: unable to delete " + registry.Familiar(ref), Err: why}
	}
	if errors.Is(why, image.ErrConflict) {
		return conflict("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", shortDigest(img))
	}
	running, any := e.userOf(img, true), e.userOf(img, false)
	switch {
	case any == nil:
		return &Error{Kind: Conflict, Message: "conflict: unable to delete " + registry.Familiar(ref), Err: why}
	case named:
		return conflict("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
			registry.Familiar(ref), any.ShortID(), shortDigest(img))
	case running != nil:
		return conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s",
			shortDigest(img), running.ShortID())
	}
	return conflict("conflict: unable to delete %s (must be forced) - image is being used by stopped container %s",
		shortDigest(img), any.ShortID())
}

// uses tells whether the container is made of the image, or has it mounted.
func (c *Container) uses(img *image.Image) bool {
	return c.ImageID == img.ID || slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.ImageID == img.ID })
}

// userOf returns a container that uses an image and, if running is set, runs; or nil.
func (e *Engine) userOf(img *image.Image, running bool) *Container {
	ids, _ := e.ids()
	for _, id := range ids {
		c, err := readRecord(e.path(id))
		if err == nil && c.uses(img) && (!running || c.State.Status == Running) {
			return c
		}
	}
	return nil
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
		case c.uses(img):
			return "container " + c.ShortID()
		}
	}
	return ""
}
