package namespace

import "os"

// MountOf returns a detached mount of what is mounted at a path, which is absolute and has no symbolic links, in the mount namespace ns: for
// [Detached]. What is changed in one of them is seen in both. Linux ≥ 5.6.
func MountOf(ns *os.File, path string) (*os.File, error) { return mountOf(ns, path) }
