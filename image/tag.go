package image

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// Tag gives the image that ref stands for (as for [Store.Get]) another name. An image that had the name keeps its
// content and other names. The name must not have a digest.
func (s *Store) Tag(ctx context.Context, ref, name string) error {
	r, err := registry.ParseReference(name)
	if err != nil {
		return fmt.Errorf("tag %q: %w", ref, err)
	}
	if r.Digest != "" {
		return fmt.Errorf("tag %q: %w: %q has a digest", ref, registry.ErrInvalidReference, name)
	}
	err = s.update(ctx, func(x *ocispec.Index) (bool, error) {
		i, err := s.find(x, ref, "")
		if err != nil {
			return false, err
		}
		return setName(x, storedName(r), i.target), nil
	})
	if err != nil {
		return fmt.Errorf("tag %q: %w", ref, err)
	}
	return nil
}
