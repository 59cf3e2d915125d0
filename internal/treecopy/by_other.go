//go:build !linux

package treecopy

import (
	"errors"
	"os"
)

// By returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func By(Caller, *os.File) (Tree, error) { return nil, errors.ErrUnsupported }
