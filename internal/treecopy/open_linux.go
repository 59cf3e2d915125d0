package treecopy

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const folderFlags = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK

// openSame opens what the tree has at name, if that is st still. What took its place meanwhile is not opened:
// opening a device may do something.
func (t files) openSame(name string, st fs.FileInfo, flag int) (*os.File, error) {
	place, err := t.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	now, err := place.Stat()
	if err != nil || !os.SameFile(now, st) {
		return nil, changed(name, err)
	}
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(place.Fd())), flag, 0)
}

// isMounted says whether what has the name is attached there by a mount. Linux ≥ 5.8; before it nothing is.
func isMounted(t Tree, name string) (bool, error) {
	place, err := t.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer place.Close()
	var st unix.Statx_t
	if err := unix.Statx(int(place.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st); err != nil {
		return false, &fs.PathError{Op: "statx", Path: name, Err: err}
	}
	return st.Attributes&st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}
