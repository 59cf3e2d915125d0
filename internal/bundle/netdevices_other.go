//go:build !linux

package bundle

import "errors"

// MoveNetDevices returns an error that satisfies errors.ErrUnsupported.
func (b *Bundle) MoveNetDevices(int) (*MovedDevices, error) { return nil, errors.ErrUnsupported }

// MovedDevices are none.
type MovedDevices struct{}

// Back does nothing.
func (*MovedDevices) Back() {}

// Close does nothing.
func (*MovedDevices) Close() {}
