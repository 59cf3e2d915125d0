package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// List lists the containers, the youngest first.
func (e *Engine) List(ctx context.Context) ([]*Container, error) {
	ids, err := e.ids()
	if err != nil {
		return nil, err
	}
	var list []*Container
	for _, id := range ids {
		c, err := e.load(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", shortID(id), err)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Container) int { return b.Created.Compare(a.Created) })
	return list, nil
}
