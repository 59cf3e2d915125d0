package layer

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// listing describes all that is below dir, a line a name, by everything a tar stream says of a file.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var lines []string
	first := map[inode]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		what := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = fmt.Sprintf("%d bytes %x", len(data), sha256.Sum256(data))
		case unix.S_IFLNK:
			if what, err = os.Readlink(path); err != nil {
				return err
			}
		case unix.S_IFCHR, unix.S_IFBLK:
			what = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if id := (inode{st.Dev, st.Ino}); st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			if first[id] == "" {
				first[id] = name
			}
			what += " is " + first[id]
		}
		lines = append(lines, fmt.Sprintf("%q %o %d:%d %d.%09d %s %s", name, st.Mode, st.Uid, st.Gid,
			st.Mtim.Sec, st.Mtim.Nsec, what, strings.Join(attributes(t, path), " ")))
		return nil
	}))
	sort.Strings(lines)
	return lines
}

func attributes(t testing.TB, path string) []string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	require.NoError(t, err)
	var all []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		require.NoError(t, err)
		all = append(all, fmt.Sprintf("%s=%q", name, value[:n]))
	}
	sort.Strings(all)
	return all
}
