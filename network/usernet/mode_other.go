//go:build !linux

package usernet

import (
	"context"
	"errors"

	"github.com/caisson-engine/caisson/network"
)

// Mode is networks in this process. On this system there are none.
type Mode struct{}

// New returns a Mode.
func New() *Mode { return &Mode{} }

// Join returns errors.ErrUnsupported on this system.
func (*Mode) Join(context.Context, *network.UserEndpoint) (network.UserLink, error) {
	return nil, errors.ErrUnsupported
}
