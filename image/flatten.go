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
	img, err := s.Commit(ctx, func(w io.Writer) error { return layer.Flatten(ctx, w, o.Parent.Layers) }, &flat)
	if err != nil {
		return nil, fmt.Errorf("flatten image: %w", err)
	}
	return img, nil
}
