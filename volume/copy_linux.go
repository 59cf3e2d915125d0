package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// A copier copies a folder's content. It works on descriptors throughout, one name at a time and without following
// links: the source belongs to an image, and its folders may change under it, where a copier that works on paths
// (such as that of containerd/continuity) can be led out by a link that takes a folder's place.
type copier struct {
	ctx   context.Context
	give  *giver
	from  *os.File         // the folder of the file under way
	top   int              // the destination's top folder
	links map[inode]string // files with several names, by their first name below top
	buf   []byte
}

type inode struct{ dev, ino uint64 }

// maxDepth bounds the folders that are open at once.
const maxDepth = 200

// copyTree copies the content of a folder into one that is empty.
func copyTree(ctx context.Context, g *giver, src, dst *os.File) error {
	c := &copier{ctx: ctx, give: g, top: int(dst.Fd()), links: map[inode]string{}}
	return c.folder(src, dst, "", 0)
}

// folder copies a folder's entries, then its attributes: its times would change otherwise.
func (c *copier) folder(src, dst *os.File, below string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders nested deeper than %d", below, maxDepth)
	}
	for {
		names, err := src.Readdirnames(256)
		for _, name := range names {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			if err := c.entry(src, dst, path.Join(below, name), depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read folder %s: %w", below, err)
		}
	}
	if depth == 0 {
		return nil // the caller's
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", below, err)
	}
	return wrap(below, c.give.attributes(src, dst, &st))
}

func wrap(name string, err error) error {
	if err != nil && name != "" {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// entry copies one entry. full is its path below the top folders.
func (c *copier) entry(srcDir, dstDir *os.File, full string, depth int) error {
	name := path.Base(full)
	src, err := c.give.open(int(srcDir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		return c.subfolder(src, dstDir, full, depth)
	}
	if kind == unix.S_IFCHR && st.Rdev == 0 {
		return nil // a whiteout of overlayfs
	}
	key := inode{st.Dev, st.Ino}
	if first, ok := c.links[key]; ok && st.Nlink > 1 {
		err := unix.Linkat(c.top, first, int(dstDir.Fd()), name, 0)
		return wrap(full, c.give.or(err, unix.SYS_LINKAT, namespace.Descriptor(c.top), first, namespace.Descriptor(dstDir.Fd()), name, 0))
	}
	c.from = srcDir
	if err := c.leaf(src, dstDir, name, &st); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if st.Nlink > 1 {
		c.links[key] = full
	}
	return nil
}

// subfolder makes a folder and copies into it.
func (c *copier) subfolder(place, dstDir *os.File, full string, depth int) error {
	name := path.Base(full)
	src, err := c.give.open(int(place.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	defer src.Close()
	if err := unix.Mkdirat(int(dstDir.Fd()), name, 0o700); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	fd, err := unix.Openat(int(dstDir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	dst := os.NewFile(uintptr(fd), full)
	defer dst.Close()
	return c.folder(src, dst, full, depth+1)
}

// leaf copies what is no folder.
func (c *copier) leaf(src, dstDir *os.File, name string, st *unix.Stat_t) error {
	dir := int(dstDir.Fd())
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.file(src, dir, name, st)
	case unix.S_IFLNK:
		target := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(src.Fd()), "", target)
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(string(target[:n]), dir, name); err != nil {
			return err
		}
	default:
		if err := unix.Mknodat(dir, name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
			return err
		}
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), name)
	defer dst.Close()
	return c.give.attributes(src, dst, st)
}

// file copies a regular file.
func (c *copier) file(place *os.File, dir int, name string, st *unix.Stat_t) error {
	src, err := reopen(place, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if c.give != nil && errors.Is(err, unix.EACCES) {
		src, err = c.give.open(int(c.from.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), name)
	err = c.content(src, dst, st.Size)
	if err == nil {
		err = c.give.attributes(src, dst, st)
	}
	return errors.Join(err, dst.Close())
}

// content copies bytes: by reflink where the file system can, else the parts that are no holes.
func (c *copier) content(src, dst *os.File, size int64) error {
	if size == 0 || unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return nil
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		hole := size
		if err != nil { // no such seeks here: all of it
			data = at
		} else if hole, err = unix.Seek(int(src.Fd()), data, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := c.extent(src, dst, data, min(hole, size)); err != nil {
			return err
		}
		at = hole
	}
	return dst.Truncate(size)
}

// chunk is how much is copied between two looks at the context.
const chunk = 16 << 20

// extent copies the bytes from one offset to another, in the kernel if it can.
func (c *copier) extent(src, dst *os.File, from, to int64) error {
	inKernel := true
	for from < to {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		want := min(to-from, chunk)
		if inKernel {
			in, out := from, from
			n, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(want), 0)
			if err == nil && n > 0 {
				from += int64(n)
				continue
			}
			if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EIO) {
				return err
			}
			inKernel = false
		}
		if c.buf == nil {
			c.buf = make([]byte, 256<<10)
		}
		n, err := src.ReadAt(c.buf[:min(want, int64(len(c.buf)))], from)
		if _, err := dst.WriteAt(c.buf[:n], from); err != nil {
			return err
		}
		from += int64(n)
		if errors.Is(err, io.EOF) {
			return nil // it has become shorter
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reopen opens what a descriptor with O_PATH stands for.
func reopen(place *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(procPath(place), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), place.Name()), nil
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
