//go:build !linux

package bundle

import "errors"

// MoveNetDevices returns an error that satisfies errors.ErrUnsupported.
func (b *Bundle) MoveNetDevices(int) error { return errors.ErrUnsupported }
