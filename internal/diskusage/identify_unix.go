//go:build unix

package diskusage

import (
	"os"
	"syscall"
)

// identify returns which file it is, how many names it has, and what it takes in bytes.
func identify(info os.FileInfo) (file, uint64, int64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}, 1, info.Size()
	}
	return file{uint64(st.Dev), st.Ino}, uint64(st.Nlink), st.Blocks * 512
}
