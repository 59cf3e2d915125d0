//go:build unix

package ocistate

import (
	"errors"
	"io/fs"
	"syscall"
)

func owner(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// gone says whether reading of a process failed because it ended.
func gone(err error) bool { return errors.Is(err, syscall.ESRCH) }
