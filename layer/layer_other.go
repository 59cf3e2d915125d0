//go:build !linux

package layer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/namespace"
)

func unsupported(what string) error {
	return fmt.Errorf("%s: layers need Linux: %w", what, errors.ErrUnsupported)
}

// A Store is a folder of layers. On this system it cannot be opened.
type Store struct{}

// Open returns errors.ErrUnsupported on this system.
func Open(string) (*Store, error) { return nil, unsupported("open layer store") }

// Dir returns "".
func (s *Store) Dir() string { return "" }

// Get returns errors.ErrUnsupported on this system.
func (s *Store) Get(digest.Digest) (Layer, error) { return Layer{}, unsupported("get layer") }

// List returns errors.ErrUnsupported on this system.
func (s *Store) List() ([]Layer, error) { return nil, unsupported("list layers") }

// Use returns errors.ErrUnsupported on this system.
func (s *Store) Use(Format) error { return unsupported("use a format") }

// Digests returns errors.ErrUnsupported on this system.
func (s *Store) Digests() ([]digest.Digest, error) { return nil, unsupported("list layers") }

// Remove returns errors.ErrUnsupported on this system.
func (s *Store) Remove(context.Context, digest.Digest) error { return unsupported("remove layer") }

// An Unlinked is a layer that is not in the store any more, and whose files still are on disk.
type Unlinked struct{}

// Delete does nothing on this system.
func (u *Unlinked) Delete() error { return nil }

// Unlink returns errors.ErrUnsupported on this system.
func (s *Store) Unlink(context.Context, digest.Digest) (*Unlinked, error) {
	return nil, unsupported("remove layer")
}

// Check returns errors.ErrUnsupported on this system.
func (s *Store) Check(context.Context) error { return unsupported("check layer store") }

// WriteOut returns errors.ErrUnsupported on this system.
func (s *Store) WriteOut() error { return unsupported("write out layers") }

// A Pending is a layer that was extracted and is not in the store yet.
type Pending struct {
	DiffID digest.Digest
	Size   int64
}

// Discard does nothing on this system.
func (p *Pending) Discard() error { return nil }

// Extract returns errors.ErrUnsupported on this system.
func (s *Store) Extract(context.Context, io.Reader, *ExtractOptions) (*Pending, error) {
	return nil, unsupported("extract layer")
}

// Commit returns errors.ErrUnsupported on this system.
func (s *Store) Commit(context.Context, ...*Pending) ([]Layer, error) {
	return nil, unsupported("commit layers")
}

// Add returns errors.ErrUnsupported on this system.
func (s *Store) Add(context.Context, io.Reader, *ExtractOptions) (Layer, error) {
	return Layer{}, unsupported("add layer")
}

// DiffID returns errors.ErrUnsupported on this system.
func (s *Store) DiffID(context.Context, io.Reader, *ExtractOptions) (digest.Digest, error) {
	return "", unsupported("digest of layer")
}

// Mount returns errors.ErrUnsupported on this system.
func Mount(context.Context, []Layer, *MountOptions) (*namespace.Root, error) {
	return nil, unsupported("mount layers")
}

// Archive returns errors.ErrUnsupported on this system.
func Archive(context.Context, io.Writer, string) error { return unsupported("archive") }

// Diff returns errors.ErrUnsupported on this system.
func Diff(context.Context, io.Writer, string, *DiffOptions) error { return unsupported("diff") }

// Copy returns errors.ErrUnsupported on this system.
func Copy(context.Context, []Layer, string) error { return unsupported("copy layers") }

// Copied returns false on this system.
func Copied(string) bool { return false }
