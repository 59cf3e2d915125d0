//go:build unix

package image

import (
	"os"
	"syscall"
)

// sameFileSystem says whether two folders are certainly on one file system.
func sameFileSystem(a, b string) bool {
	return device(a) != nil && device(b) != nil && *device(a) == *device(b)
}

func device(path string) *uint64 {
	fi, err := os.Stat(path)
	if err != nil {
		return nil
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	dev := uint64(st.Dev)
	return &dev
}
