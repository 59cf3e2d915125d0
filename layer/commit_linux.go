package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
)

// Commit makes the layers durable with one syncfs(2), then moves each into the store, and returns them in the order
// given. Of a layer that the store has already, the new copy is deleted. When it fails, those that are not in the store
// can be committed again or discarded. ctx is looked at before and between the steps: a sync cannot be ended.
func (s *Store) Commit(ctx context.Context, pending ...*Pending) ([]Layer, error) {
	layers := make([]Layer, 0, len(pending))
	if len(pending) == 0 {
		return layers, nil
	}
	if err := s.sync(ctx); err != nil {
		return nil, fmt.Errorf("commit layers: %w", err)
	}
	changed := map[string]struct{}{}
	for _, p := range pending {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("commit layer %s: %w", p.DiffID, err)
		}
		path, err := s.commit(p)
		if err != nil {
			return nil, fmt.Errorf("commit layer %s: %w", p.DiffID, err)
		}
		changed[filepath.Dir(path)] = struct{}{}
	}
	for dir := range changed {
		if err := s.step("sync folder"); err != nil {
			return nil, fmt.Errorf("commit layers: %w", err)
		}
		if err := durable.SyncDir(dir); err != nil {
			return nil, fmt.Errorf("commit layers: %w", err)
		}
	}
	for _, p := range pending {
		l, err := s.Get(p.DiffID)
		if err != nil {
			return nil, fmt.Errorf("commit: %w", err)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

func (s *Store) sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.step("syncfs"); err != nil {
		return err
	}
	return s.syncfs()
}

func (s *Store) syncfs() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", s.dir, hint(err, "it takes root"))
	}
	return nil
}

// WriteOut has everything written that lies in memory for the store's file system (syncfs(2)), and waits for it. Who
// extracts much calls it meanwhile, so that Commit's own sync finds little left to do.
func (s *Store) WriteOut() error { return s.syncfs() }

// commit moves one layer to its place.
func (s *Store) commit(p *Pending) (string, error) {
	path, err := s.path(p.DiffID)
	if err != nil || p.temp.lock == nil { // committed before
		return path, err
	}
	if err := s.step("rename"); err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err == nil {
		err = durable.SyncDir(s.dir)
		if err != nil {
			return "", err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return "", err
	}
	switch err := os.Rename(p.temp.path, path); {
	case err == nil:
		err = p.temp.lock.Close()
		p.temp.lock = nil
		return path, err
	case errors.Is(err, os.ErrExist) || errors.Is(err, unix.ENOTEMPTY): // another was faster
		return path, p.temp.remove()
	default:
		return "", err
	}
}

// Add extracts one layer and commits it. Several are faster by Extract for each and one Commit.
func (s *Store) Add(ctx context.Context, r io.Reader, o *ExtractOptions) (Layer, error) {
	p, err := s.Extract(ctx, r, o)
	if err != nil {
		return Layer{}, err
	}
	layers, err := s.Commit(ctx, p)
	if err != nil {
		return Layer{}, errors.Join(err, p.Discard())
	}
	return layers[0], nil
}
