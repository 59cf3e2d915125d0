//go:build !linux

package namespace

import (
	"errors"
	"os"
)

// ErrNotDevice is returned by DeviceAt for a file that is not a device node.
var ErrNotDevice = errors.New("not a device node")

// DeviceAt returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func DeviceAt(string) (Device, error) { return Device{}, unsupported("look up device") }

// Resize returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func Resize(*os.File, WinSize) error { return unsupported("resize terminal") }
