package namespace

import (
	"io/fs"
	"syscall"
)

func fileNumber(st fs.FileInfo) uint64 { return st.Sys().(*syscall.Stat_t).Ino }
