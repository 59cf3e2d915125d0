package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// CommitOptions change how an image is made of a container.
type CommitOptions struct {
	// Name is the image's name. Empty means none.
	Name string
	// Author and Comment are for the image's history.
	Author, Comment string
	// Edit is called with the image's configuration, in which the container's is already, and may change it. Nil changes nothing.
	Edit func(*ocispec.ImageConfig)
	// Healthcheck is the image's health check; what it leaves empty is the container's.
	Healthcheck *image.Healthcheck
	// Changes are instructions of a Dockerfile, applied last; see [image.CommitOptions].
	Changes []string
	// NoPause leaves the container running meanwhile: what it writes may be in the image or not, in parts too. By default
	// its processes are frozen.
	NoPause bool
}

// Commit makes an image of a container: the layers of its image, and one of what the container changed. Its
// configuration is that of the container's image with the container's own; what is in volumes and other mounts is not in
// the image.
func (e *Engine) Commit(ctx context.Context, ref string, o *CommitOptions) (_ *image.Image, err error) {
	if o == nil {
		o = &CommitOptions{}
	}
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	if o.Name != "" {
		if _, err := registry.ParseReference(o.Name); err != nil {
			return nil, &Error{Kind: Invalid, Message: o.Name, Err: err}
		}
	}
	parent, err := e.images.Get(ctx, string(c.ImageID), nil)
	if err != nil {
		return nil, fmt.Errorf("commit container %s: %w", c.ShortID(), err)
	}
	if c.State.Status == Running && !o.NoPause {
		thaw, err := e.pauseFor(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("commit container %s: %w", c.ShortID(), err)
		}
		defer func() { err = errors.Join(err, thaw()) }()
	}
	edit := func(cfg *ocispec.ImageConfig) {
		c.edit(cfg)
		if o.Edit != nil {
			o.Edit(cfg)
		}
	}
	img, err := e.commitChanges(ctx, c, &image.CommitOptions{
		Name: o.Name, Parent: parent, Edit: edit, Changes: o.Changes, Author: o.Author, Comment: o.Comment,
		CreatedBy: strings.Join(c.Args, " "), Healthcheck: o.Healthcheck.Over(c.Healthcheck),
	})
	if err == nil {
		e.note("commit", c, "comment", o.Comment, "imageID", img.ID.String(), "imageRef", o.Name)
	}
	return img, err
}

// commitChanges makes an image of what the container changed.
func (e *Engine) commitChanges(ctx context.Context, c *Container, o *image.CommitOptions) (*image.Image, error) {
	img, err := e.images.Commit(ctx, func(w io.Writer) error { return e.changes(ctx, c, w) }, o)
	switch {
	case errors.Is(err, image.ErrInvalid):
		return nil, &Error{Kind: Invalid, Message: "commit", Err: err}
	case err != nil:
		return nil, fmt.Errorf("commit container %s: %w", c.ShortID(), err)
	}
	return img, nil
}

// changes writes what the container changed as a layer.
func (e *Engine) changes(ctx context.Context, c *Container, w io.Writer) (err error) {
	upper := e.path(c.ID, "upper")
	if _, err := os.Lstat(upper); errors.Is(err, os.ErrNotExist) { // it was never started
		_, err := w.Write(make([]byte, 1024)) // the end of an archive
		return err
	}
	if !layer.Copied(e.path(c.ID, "work")) {
		return layer.Diff(ctx, w, upper, nil)
	}
	img, err := e.images.Get(ctx, string(c.ImageID), nil)
	if err != nil {
		return err
	}
	lower, err := layer.Mount(ctx, img.Layers, &layer.MountOptions{
		Copy: layer.CopyAlways, UIDMappings: c.UIDMappings, GIDMappings: c.GIDMappings,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lower.Close()) }()
	return layer.Diff(ctx, w, upper, &layer.DiffOptions{Lower: lower.Folder(), UIDMappings: c.UIDMappings, GIDMappings: c.GIDMappings})
}

// edit changes an image's configuration to what the container was made with.
func (c *Container) edit(image *ocispec.ImageConfig) {
	cfg := &c.Config
	switch {
	case cfg.Entrypoint != nil:
		image.Entrypoint, image.Cmd = cfg.Entrypoint, cfg.Command
		if len(cfg.Entrypoint) == 1 && cfg.Entrypoint[0] == "" {
			image.Entrypoint = nil
		}
	case len(cfg.Command) > 0:
		image.Cmd = cfg.Command
	}
	for _, v := range cfg.Env {
		name, _, given := strings.Cut(v, "=")
		image.Env = slices.DeleteFunc(image.Env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if given {
			image.Env = append(image.Env, v)
		}
	}
	for into, value := range map[*string]string{
		&image.User: cfg.User, &image.WorkingDir: cfg.Dir, &image.StopSignal: cfg.StopSignal,
	} {
		if value != "" {
			*into = value
		}
	}
	for name, value := range cfg.Labels {
		if image.Labels == nil {
			image.Labels = make(map[string]string)
		}
		image.Labels[name] = value
	}
	for _, m := range cfg.Mounts {
		if m.Type == "volume" && m.Source == "" {
			if image.Volumes == nil {
				image.Volumes = make(map[string]struct{})
			}
			image.Volumes[m.Target] = struct{}{}
		}
	}
}

// Export writes the container's root file system as an uncompressed tar stream, as [layer.Archive] does: the image's
// files and the container's changes, without what is mounted in it. The container may run; then what it writes meanwhile
// may be in the stream or not.
func (e *Engine) Export(ctx context.Context, ref string, w io.Writer) (err error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("export container %s: %w", c.ShortID(), err)
			return
		}
		e.note("export", c)
	}()
	img, err := e.images.Get(ctx, string(c.ImageID), nil)
	if err != nil {
		return err
	}
	release, err := e.images.Hold(ctx, img)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	// A second writable overlay over one upper folder is not allowed, so it is the topmost of the lower ones.
	layers := slices.Clone(img.Layers)
	upper := e.path(c.ID, "upper")
	if layer.Copied(e.path(c.ID, "work")) { // all of it is there
		if c.keepsIDs() {
			return layer.Diff(ctx, w, upper, &layer.DiffOptions{UIDMappings: c.UIDMappings, GIDMappings: c.GIDMappings})
		}
		layers = nil
	}
	if _, err := os.Lstat(upper); err == nil {
		layers = append(layers, layer.Layer{Dir: upper})
	}
	return layer.Flatten(ctx, w, layers)
}

// ImportTar makes an image of a root file system's tar stream, plain or compressed by gzip or zstd.
func (e *Engine) ImportTar(ctx context.Context, r io.Reader, o *image.CommitOptions) (*image.Image, error) {
	if o == nil {
		o = &image.CommitOptions{}
	}
	img, err := e.images.ImportTar(ctx, r, o)
	if errors.Is(err, image.ErrInvalid) || errors.Is(err, registry.ErrInvalidReference) {
		return nil, &Error{Kind: Invalid, Message: "import", Err: err}
	}
	if err == nil {
		e.noteImage("import", img.ID.String(), cmp.Or(o.Name, img.ID.String()))
	}
	return img, err
}

// Flatten makes an image of one layer from the layers of the image that ref names; o.Parent is set by it. See
// [image.Store.Flatten].
func (e *Engine) Flatten(ctx context.Context, ref string, o *image.CommitOptions) (*image.Image, error) {
	parent, err := e.Image(ctx, ref)
	if err != nil {
		return nil, err
	}
	var flat image.CommitOptions
	if o != nil {
		flat = *o
	}
	flat.Parent = parent
	img, err := e.images.Flatten(ctx, &flat)
	if errors.Is(err, image.ErrInvalid) || errors.Is(err, registry.ErrInvalidReference) {
		return nil, &Error{Kind: Invalid, Message: "flatten", Err: err}
	}
	return img, err
}
