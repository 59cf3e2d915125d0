//go:build !linux

package namespace

import "os"

// OwnMappings returns nothing: the system is not Linux.
func OwnMappings() (uids, gids []IDMapping) { return nil, nil }

// KeepIDMappings returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func KeepIDMappings(_, _ uint32) (uids, gids []IDMapping, err error) {
	return nil, nil, unsupported("unshare")
}

// Privileged returns false: the system is not Linux.
func Privileged() bool { return false }

// NewUserNamespace returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func NewUserNamespace(_, _ []IDMapping) (*os.File, error) { return nil, unsupported("unshare") }

// Supported returns nothing: the system is not Linux.
func Supported() []Support { return nil }

// FirstUserNamespace returns false: the system is not Linux.
func FirstUserNamespace() bool { return false }
