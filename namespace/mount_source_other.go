//go:build !linux

package namespace

import (
	"errors"
	"os"
)

// Stat returns errors.ErrUnsupported on this system.
func (m *Mount) Stat() (os.FileInfo, error) { return nil, errors.ErrUnsupported }
