package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A node is a file as it is found in a folder that is to be archived.
type node struct {
	st     unix.Stat_t
	link   string            // of a symbolic link
	xattrs map[string]string // as on disk
}

func (n *node) isDir() bool { return n.st.Mode&unix.S_IFMT == unix.S_IFDIR }

// readNode reads what is to be known of the file base in the folder fd; base "" is the folder itself.
func readNode(o *owners, fd int, base string) (*node, error) {
	n, err := readOwnNode(fd, base)
	if o == nil || !errors.Is(err, unix.EACCES) {
		return n, err
	}
	return o.readNode(fd, base)
}

func readOwnNode(fd int, base string) (*node, error) {
	n := &node{}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if base == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := retry(func() error { return unix.Fstatat(fd, base, &n.st, flags) }); err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	var err error
	if n.st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if n.link, err = readlinkat(fd, base); err != nil {
			return nil, fmt.Errorf("read link: %w", err)
		}
	}
	if n.xattrs, err = readXattrs(fd, base); err != nil {
		return nil, fmt.Errorf("read extended attributes: %w", err)
	}
	return n, nil
}

// readXattrs reads all extended attributes. What a file system has none of is an empty set.
func readXattrs(fd int, base string) (map[string]string, error) {
	path := procPath(fd, base)
	if base == "" {
		path += "." // the link below /proc itself must be followed
	}
	list, err := grown(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := grown(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // taken away meanwhile, or not for us to see
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = string(value)
	}
	return all, nil
}

// grown calls a function that fills a buffer until the buffer is large enough: attributes change at any time.
func grown(call func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := call(b)
		switch {
		case err == nil:
			return b[:n], nil
		case errors.Is(err, unix.EINTR):
			size /= 4
		case !errors.Is(err, unix.ERANGE) || size > 1<<20:
			return nil, err
		}
	}
}

// names lists a folder, sorted.
func folderNames(fd int) ([]string, error) {
	again, err := openat(fd, ".", openDir, 0)
	if errors.Is(err, unix.EACCES) { // it was opened by somebody who may
		if again, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			_, err = unix.Seek(again, 0, io.SeekStart)
		}
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// maxExtents bounds the map of a sparse file; what comes after as many parts goes as data, holes and all.
const maxExtents = 1 << 12

// extents returns the parts of a file that hold data, or nil when there are no holes in it.
func extents(f *os.File, size int64) ([]extent, error) {
	parts := []extent{}
	fd := int(f.Fd())
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
			return nil, nil // a file system that does not know
		}
		if err != nil {
			return nil, fmt.Errorf("seek: %w", err)
		}
		if from >= size {
			break
		}
		to := size
		if len(parts) < maxExtents-1 {
			if to, err = unix.Seek(fd, from, unix.SEEK_HOLE); err != nil {
				return nil, fmt.Errorf("seek: %w", err)
			}
		}
		to = min(to, size)
		parts = append(parts, extent{from, to - from})
		at = to
	}
	if size == 0 || len(parts) == 1 && parts[0] == (extent{0, size}) {
		return nil, nil
	}
	if n := len(parts); n == 0 || parts[n-1].at+parts[n-1].size < size {
		parts = append(parts, extent{size, 0}) // as GNU tar ends a map
	}
	return parts, nil
}

// errChanged says that a file became shorter while it was read.
var errChanged = errors.New("file changed while it was read")

// copyParts writes the parts of a file. What a file that shrinks lacks is an error: its header is written.
func copyParts(ctx context.Context, w io.Writer, f *os.File, parts []extent, buf []byte) error {
	for _, p := range parts {
		for p.size > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := f.ReadAt(buf[:min(int64(len(buf)), p.size)], p.at)
			if n == 0 {
				if err == io.EOF {
					err = errChanged
				}
				return err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			p.at, p.size = p.at+int64(n), p.size-int64(n)
		}
	}
	return nil
}
