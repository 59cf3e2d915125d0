//go:build !linux

package namespace

// Register returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (w *Ward) Register() error { return unsupported("register") }

// Add returns an error that satisfies errors.ErrUnsupported.
func (w *Ward) Add(*Process) error { return unsupported("register") }

// Release does nothing.
func (w *Ward) Release() error { return nil }

// Foreseen is false.
func (w *Ward) Foreseen() bool { return false }
