package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/caisson-engine/caisson/layer"
)

// Flatten makes an image of one layer, which holds what all layers of o.Parent show together: what upper ones replace or
// delete is not in it. The configuration, and its history, are the parent's, but for what the options say; that only the
// last entry of the history made a layer is noted in it. The parent stays as it is. It is [Store.Commit] otherwise.
func (s *Store) Flatten(ctx context.Context, o *CommitOptions) (*Image, error) {
	if o == nil || o.Parent == nil {
		return nil, errors.New("flatten image: Parent is not set")
	}
	flat := *o
	flat.flat = true
	img, err := s.Commit(ctx, func(w io.Writer) error { return o.Parent.archive(ctx, w) }, &flat)
	if err != nil {
		return nil, fmt.Errorf("flatten image: %w", err)
	}
	return img, nil
}

// archive writes the image's root file system as a tar stream.
func (i *Image) archive(ctx context.Context, w io.Writer) (err error) {
	root, err := layer.Mount(ctx, i.Layers, &layer.MountOptions{ReadOnly: true, Copy: layer.CopyFallback})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.OpenFolder("/")
	if err != nil {
		return err
	}
	defer f.Close()
	return layer.Archive(ctx, w, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
