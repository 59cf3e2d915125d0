//go:build !linux

package namespace

import "os"

func fileNumber(*os.File) (uint64, error) { return 1, nil }
