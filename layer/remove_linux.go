package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// An Unlinked is a layer that is not in the store any more, and whose files still are on disk. What is not deleted by
// [Unlinked.Delete], or by the end of the process half, an Open deletes.
type Unlinked struct{ temps []*temp }

// Unlink takes a layer out of the store, durably, without deleting its files yet: that takes little time, whatever the
// layer's size. What is mounted or part of an image must not be unlinked: the caller knows, the store does not. It is
// ErrNotFound, wrapped, when the store does not have the layer. ctx bounds the wait for a sweep of another process.
func (s *Store) Unlink(ctx context.Context, diffID digest.Digest) (*Unlinked, error) {
	u := &Unlinked{}
	if err := s.unlink(ctx, diffID, u); err != nil {
		return nil, errors.Join(fmt.Errorf("remove layer %s: %w", diffID, err), u.Delete())
	}
	return u, nil
}

func (s *Store) unlink(ctx context.Context, diffID digest.Digest, u *Unlinked) error {
	path, err := s.path(diffID)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err := s.unlinkChains(ctx, diffID.String(), u); err != nil {
		return err
	}
	t, err := newTemp(ctx, s.dir)
	if err != nil {
		return err
	}
	u.temps = append(u.temps, t)
	// Half a layer must not come back after a loss of power: the name goes first.
	err = os.Rename(path, filepath.Join(t.path, "removed"))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Delete deletes the layer's files. A second call does nothing.
func (u *Unlinked) Delete() error {
	var errs []error
	for _, t := range u.temps {
		errs = append(errs, t.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete layer: %w", err)
	}
	return nil
}

// Remove deletes a layer: it is [Store.Unlink] and [Unlinked.Delete].
func (s *Store) Remove(ctx context.Context, diffID digest.Digest) error {
	u, err := s.Unlink(ctx, diffID)
	if err != nil {
		return err
	}
	return u.Delete()
}
