package build

import (
	"io/fs"
	"strconv"
	"syscall"
)

// inodeOf tells which file it is, and whether it has several names.
func inodeOf(st fs.FileInfo) (inode, bool) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || s.Nlink < 2 {
		return inode{}, false
	}
	return inode{uint64(s.Dev), s.Ino}, true
}

// capabilities returns the file capabilities of a file, as their attribute has them, or "".
func (s *source) capabilities(name string) string {
	f, _, err := s.openFile(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 64)
	n, err := syscall.Getxattr("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), "security.capability", b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}
