//go:build unix

package namespace

import "syscall"

const (
	errPermission = syscall.EPERM
	errNotFound   = syscall.ENOENT
	errExecFormat = syscall.ENOEXEC
)
