package treecopy

import (
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const folderFlags = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK

// openSame opens for reading what the tree has at name, if that is st still. What took its place meanwhile is not opened:
// opening a device may do something.
func (t files) openSame(name string, st fs.FileInfo) (*os.File, error) {
	place, err := t.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	now, err := place.Stat()
	if err != nil || !os.SameFile(now, st) {
		return nil, changed(name, err)
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(place.Fd())))
}
