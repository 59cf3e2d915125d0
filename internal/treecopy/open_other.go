//go:build !linux

package treecopy

import "os"

const folderFlags = os.O_RDONLY

// openSame opens for reading what the root has at name, if that is st still.
func openSame(root *os.Root, name string, st os.FileInfo) (*os.File, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err != nil || !os.SameFile(now, st) {
		_ = f.Close()
		return nil, changed(name, err)
	}
	return f, nil
}
