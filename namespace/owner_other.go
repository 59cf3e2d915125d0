//go:build !linux

package namespace

// AsOwner returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func AsOwner(_, _ uint32, _ func() error) error { return unsupported("setfsuid") }
