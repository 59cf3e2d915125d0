//go:build !linux

package namespace

import (
	"errors"
	"os"
)

// JoinedMappings returns errors.ErrUnsupported on this system.
func JoinedMappings(*os.File) (uids, gids []IDMapping, err error) {
	return nil, nil, errors.ErrUnsupported
}
