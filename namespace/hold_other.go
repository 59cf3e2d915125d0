//go:build !linux

package namespace

import "context"

// A Held is a process that has set itself up and waits for its command. There is none on this system.
type Held struct{}

// Hold returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *Launch) Hold(context.Context) (*Held, error) { return nil, unsupported("hold") }

// Process returns nil.
func (h *Held) Process() *Process { return nil }

// Alive returns false.
func (h *Held) Alive() bool { return false }

// Start returns an error that satisfies errors.ErrUnsupported.
func (h *Held) Start(context.Context, *Launch) (*Process, error) { return nil, unsupported("start") }

// Close does nothing.
func (h *Held) Close() error { return nil }
