package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
)

// Names in a volume's folder that Populate uses.
const (
	populateName = "populate" // its lock
	fillName     = "fill"     // the copy under way
	fillingName  = "filling"  // the finished copy, moving into data
	contentName  = "content"  // in both: the copy
	rootName     = "root"     // in both: an empty folder with the attributes of the copied one
)

// Populate copies what an image has at a path into a volume that is empty: the folder's content, and the owner, mode
// and times of the folder itself. Owners, modes, times, extended attributes, hard links, holes, devices and pipes are
// kept; labels of the host's security module are not. A volume with content, and a path that is missing in the image or
// no folder, are left alone, as with Docker. Symbolic links in the path are followed inside the root; those in the
// folder are copied, never followed.
//
// The copy is made beside the volume and moved in when it is complete. A process that is killed while it moves leaves
// the rest to the next Populate. Acquire the volume first. ctx bounds the copying; what was copied till its end is
// deleted.
func (s *Store) Populate(ctx context.Context, name string, root *namespace.Root, path string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	v, err := s.read(name)
	if err != nil {
		return fmt.Errorf("populate volume %s: %w", name, err)
	}
	if v.Mount != nil { // what is somewhere else is its owner's
		return nil
	}
	if err := s.populate(ctx, name, root, path); err != nil {
		return fmt.Errorf("populate volume %s from %s: %w", name, path, err)
	}
	return nil
}

func (s *Store) populate(ctx context.Context, name string, root *namespace.Root, path string) (err error) {
	l, err := durable.Acquire(ctx, s.path(name, populateName), true)
	if err != nil {
		return err
	}
	defer l.Close()
	fill, filling, data := s.path(name, fillName), s.path(name, fillingName), s.path(name, dataName)
	if _, err := os.Lstat(filling); err == nil {
		return moveIn(filling, data)
	}
	if err := namespace.RemoveAll(fill); err != nil { // a killed process's
		return err
	}
	if empty, err := isEmpty(data); err != nil || !empty {
		return err
	}
	src, err := root.OpenFolder(path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		// The path is missing, or the root is: that is an error of the start, not of the volume.
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, namespace.RemoveAll(fill))
		}
	}()
	if err := copyInto(ctx, src, fill, data); err != nil {
		return err
	}
	if err := os.Rename(fill, filling); err != nil {
		return err
	}
	if err := durable.SyncDir(s.path(name)); err != nil {
		return err
	}
	return moveIn(filling, data)
}

// copyInto makes the folder fill with a copy, and waits until it is on disk.
func copyInto(ctx context.Context, src *os.File, fill, data string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	if err := os.Mkdir(fill, 0o700); err != nil {
		return err
	}
	var folders [2]*os.File
	for i, name := range []string{contentName, rootName} {
		if err := os.Mkdir(filepath.Join(fill, name), 0o700); err != nil {
			return err
		}
		f, err := os.Open(filepath.Join(fill, name))
		if err != nil {
			return err
		}
		defer f.Close()
		folders[i] = f
	}
	if err := sameProject(filepath.Join(fill, contentName), data); err != nil {
		return err
	}
	g := newGiver(ctx)
	defer g.close()
	if err := copyTree(ctx, g, src, folders[0]); err != nil {
		return err
	}
	if err := g.attributes(src, folders[1], &st); err != nil {
		return err
	}
	return unix.Syncfs(int(folders[0].Fd()))
}

// copyFolder copies a folder's content and attributes into one that is empty and nobody sees yet.
func copyFolder(ctx context.Context, dir, data string) error {
	g := newGiver(ctx)
	defer g.close()
	src, err := g.open(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	dst, err := os.Open(data)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := copyTree(ctx, g, src, dst); err != nil {
		return err
	}
	if err := g.attributes(src, dst, &st); err != nil {
		return err
	}
	return unix.Syncfs(int(dst.Fd()))
}

// isEmpty tells whether a folder has no entries.
func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) && !namespace.Privileged() {
		return false, nil // it has got its owner already, one of the user's subordinate ids
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// moveIn moves a finished copy's entries into the volume's folder, which containers may have mounted already: so it is
// not replaced. What one of them has made meanwhile under the same name stays.
func moveIn(filling, data string) error {
	g := newGiver(context.Background())
	defer g.close()
	from, err := os.Open(filepath.Join(filling, contentName))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := g.open(unix.AT_FDCWD, data, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer to.Close()
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Renameat2(int(from.Fd()), name, int(to.Fd()), name, unix.RENAME_NOREPLACE)
		err = g.or(err, unix.SYS_RENAMEAT2, namespace.Descriptor(from.Fd()), name, namespace.Descriptor(to.Fd()), name, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("move %s: %w", name, err)
		}
	}
	root, err := g.open(unix.AT_FDCWD, filepath.Join(filling, rootName), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return err
	}
	if err := g.attributes(root, to, &st); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	// Under its first name it is no finished copy any more, wherever the deletion ends.
	done := filepath.Join(filepath.Dir(data), fillName)
	if err := os.Rename(filling, done); err != nil {
		return err
	}
	return errors.Join(namespace.RemoveAll(done), durable.SyncDir(filepath.Dir(data)))
}
