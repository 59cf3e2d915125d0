package treecopy

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const folderFlags = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK

// openSame opens for reading what the root has at name, if that is st still. What took its place meanwhile is not opened:
// opening a device may do something.
func openSame(root *os.Root, name string, st os.FileInfo) (*os.File, error) {
	place, err := root.OpenFile(name, unix.O_PATH, 0)
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
