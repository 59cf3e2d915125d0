//go:build !linux

package build

import "io/fs"

func inodeOf(fs.FileInfo) (inode, bool) { return inode{}, false }

func (s *source) capabilities(string) string { return "" }
