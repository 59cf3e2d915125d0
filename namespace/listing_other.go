//go:build !linux

package namespace

import "syscall"

func errnoName(e syscall.Errno) string { return e.Error() }

func (p *Program) formatStruct(arg) string { return "" }
