//go:build !linux

package namespace

import "context"

// Park returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *Launch) Park(context.Context, string) (*Process, error) { return nil, unsupported("park") }

// StartReady returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *Launch) StartReady(context.Context, func(*Process) error) (*Process, error) {
	return nil, unsupported("start")
}

// JoinCgroups returns an error that satisfies errors.ErrUnsupported.
func (p *Process) JoinCgroups() error { return unsupported("start") }

// Unpark returns an error that satisfies errors.ErrUnsupported.
func Unpark(context.Context, string) error { return unsupported("start") }

// Parked returns false.
func Parked(string) bool { return false }

// FindProcess returns an error that satisfies errors.ErrUnsupported.
func FindProcess(int) (*Process, error) { return nil, unsupported("find") }
