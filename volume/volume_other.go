//go:build !linux

package volume

import (
	"context"
	"errors"
	"os"

	"github.com/caisson-engine/caisson/namespace"
)

// A Store is a folder with volumes. On this system there are none.
type Store struct{}

// A Use keeps a volume from being removed.
type Use struct {
	// Volume is the volume in use.
	Volume Volume
}

// File returns nil.
func (u *Use) File() *os.File { return nil }

// Close does nothing.
func (u *Use) Close() error { return nil }

// Mount returns errors.ErrUnsupported on this system.
func (u *Use) Mount(context.Context) (namespace.Mount, error) {
	return namespace.Mount{}, errors.ErrUnsupported
}

// Open returns errors.ErrUnsupported on this system.
func Open(string) (*Store, error) { return nil, errors.ErrUnsupported }

// Create returns errors.ErrUnsupported on this system.
func (s *Store) Create(string, *CreateOptions) (Volume, error) {
	return Volume{}, errors.ErrUnsupported
}

// CreateFrom returns errors.ErrUnsupported on this system.
func (s *Store) CreateFrom(context.Context, string, *CreateOptions, string) (Volume, error) {
	return Volume{}, errors.ErrUnsupported
}

// Clone returns errors.ErrUnsupported on this system.
func (s *Store) Clone(context.Context, string, string, *CreateOptions) (Volume, error) {
	return Volume{}, errors.ErrUnsupported
}

// Get returns errors.ErrUnsupported on this system.
func (s *Store) Get(string) (Volume, error) { return Volume{}, errors.ErrUnsupported }

// List returns errors.ErrUnsupported on this system.
func (s *Store) List() ([]Volume, error) { return nil, errors.ErrUnsupported }

// Acquire returns errors.ErrUnsupported on this system.
func (s *Store) Acquire(string) (*Use, error) { return nil, errors.ErrUnsupported }

// Remove returns errors.ErrUnsupported on this system.
func (s *Store) Remove(string) error { return errors.ErrUnsupported }

// An Unlinked is a volume that is not in the store any more, and whose content still is on disk.
type Unlinked struct{}

// Delete does nothing on this system.
func (u *Unlinked) Delete() error { return nil }

// Unlink returns errors.ErrUnsupported on this system.
func (s *Store) Unlink(string) (*Unlinked, error) { return nil, errors.ErrUnsupported }

// Prune returns errors.ErrUnsupported on this system.
func (s *Store) Prune(context.Context, *PruneOptions) ([]Volume, error) {
	return nil, errors.ErrUnsupported
}

// Check returns errors.ErrUnsupported on this system.
func (s *Store) Check(context.Context) error { return errors.ErrUnsupported }

// Populate returns errors.ErrUnsupported on this system.
func (s *Store) Populate(context.Context, string, *namespace.Root, string) error {
	return errors.ErrUnsupported
}

// Planned returns a volume that cannot be on this system.
func (s *Store) Planned(name string) Volume { return Volume{Name: name} }

// Kept returns "": there is none on this system.
func (s *Store) Kept(string) string { return "" }

// Relabel returns errors.ErrUnsupported on this system.
func Relabel(context.Context, string, string) error { return errors.ErrUnsupported }
