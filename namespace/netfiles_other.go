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
