//go:build !linux

package treecopy

import (
	"io/fs"
	"os"
)

const folderFlags = os.O_RDONLY

// openSame opens what the tree has at name, if that is st still.
func (t files) openSame(name string, st fs.FileInfo, flag int) (*os.File, error) {
	f, err := t.OpenFile(name, flag, 0)
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

func isMounted(Tree, string) (bool, error) { return false, nil }
