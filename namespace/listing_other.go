//go:build !linux

package namespace

import "syscall"

func errnoName(e syscall.Errno) string { return e.Error() }
