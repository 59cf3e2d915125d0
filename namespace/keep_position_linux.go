package namespace

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileNumber tells a file from others of its folder, also from one that was there before and had its inode, which most file systems give
// away again at once: by the time at which it was made, where that is known.
func fileNumber(f *os.File) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return 0, fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	n := st.Ino
	if st.Mask&unix.STATX_BTIME != 0 {
		n ^= uint64(st.Btime.Sec*1e9+int64(st.Btime.Nsec)) << 1
	}
	return max(n, 1), nil
}
