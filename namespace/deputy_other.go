//go:build !linux

package namespace

import (
	"context"
	"os"
)

// A Deputy makes system calls in a user namespace: on Linux only.
type Deputy struct{}

// NewDeputy returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func NewDeputy(context.Context, []IDMapping, []IDMapping) (*Deputy, error) {
	return nil, unsupported("unshare")
}

// Call returns ErrDeputyEnded.
func (d *Deputy) Call(int, ...any) (int, error) { return -1, ErrDeputyEnded }

// Open returns ErrDeputyEnded.
func (d *Deputy) Open(string, int, ...any) (*os.File, error) { return nil, ErrDeputyEnded }

// User returns nil.
func (d *Deputy) User() *os.File { return nil }

// Mappings returns nothing.
func (d *Deputy) Mappings() (uids, gids []IDMapping) { return nil, nil }

// Close does nothing.
func (d *Deputy) Close() error { return nil }

// FileCapabilities returns nil.
func (d *Deputy) FileCapabilities([]byte) []byte { return nil }

// SetOwner returns ErrDeputyEnded.
func (d *Deputy) SetOwner(_, _ uint32) error { return ErrDeputyEnded }
