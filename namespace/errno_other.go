//go:build !unix

package namespace

import "errors"

var (
	errPermission = errors.New("operation not permitted")
	errNotFound   = errors.New("no such file or directory")
	errExecFormat = errors.New("exec format error")
)
