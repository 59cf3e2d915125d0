//go:build !linux

package namespace

import "context"

// A ForkServer clones processes. There is none on this system.
type ForkServer struct{}

// StartForkServer returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *Launch) StartForkServer(context.Context) (*ForkServer, error) {
	return nil, unsupported("start")
}

// Alive returns false.
func (f *ForkServer) Alive() bool { return false }

// Close does nothing.
func (f *ForkServer) Close() error { return nil }
