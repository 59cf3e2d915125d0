//go:build !linux

package namespace

// A Placeholder is a process that does nothing: on Linux only.
type Placeholder struct{}

// NewPlaceholder returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func NewPlaceholder() (*Placeholder, error) { return nil, unsupported("placeholder") }

// Pid returns 0.
func (h *Placeholder) Pid() int { return 0 }

// Close does nothing.
func (h *Placeholder) Close() error { return nil }
