//go:build !linux

package namespace

import (
	"context"
	"os"
)

// OpenNetwork returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func OpenNetwork(context.Context, *os.File, *os.File) (tun, rtnetlink *os.File, err error) {
	return nil, nil, unsupported("open network")
}

// OpenSocket returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func OpenSocket(context.Context, *os.File, *os.File, int, int) (*os.File, error) {
	return nil, unsupported("open socket")
}

// HandsNetwork returns false.
func (l *Launch) HandsNetwork() bool { return false }

// ReceiveFile returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func ReceiveFile(*os.File, string) (*os.File, error) { return nil, unsupported("receive file") }
