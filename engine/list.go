package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// List lists the containers, the youngest first. Those whose document cannot be read are [Dead].
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
		if err != nil && ctx.Err() != nil {
			return nil, fmt.Errorf("container %s: %w", shortID(id), err)
		}
		if err != nil {
			c = e.dead(id, err)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Container) int { return b.Created.Compare(a.Created) })
	return list, nil
}

// dead is what is known of a container whose document cannot be read.
func (e *Engine) dead(id string, why error) *Container {
	e.log.Warn("container cannot be read", "id", id, "error", why)
	c := &Container{ID: id, State: State{Status: Dead, Error: why.Error()}}
	if st, err := os.Stat(e.path(id)); err == nil {
		c.Created = st.ModTime().UTC()
	}
	claims, _ := os.ReadDir(filepath.Join(e.dir, "containers", "names"))
	for _, claim := range claims {
		if e.claimant(claim.Name()) == id {
			c.Name = claim.Name()
		}
	}
	return c
}
