//go:build !linux

package namespace

import "os"

func mountOf(*os.File, string) (*os.File, error) { return nil, unsupported("mount of a namespace") }
