package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Check verifies the store: each layer's folder is named by a digest, says the same of itself, and has as many names
// and bytes in it as when it was extracted. It reads no file's content. The error names all that is wrong. ctx bounds
// it.
func (s *Store) Check(ctx context.Context) error {
	ids, strays, err := s.ids()
	if err != nil {
		return err
	}
	var wrong []error
	for _, path := range strays {
		wrong = append(wrong, fmt.Errorf("%s is not a layer", filepath.Join(s.dir, path)))
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.check(ctx, id); err != nil && !s.isGone(id) {
			wrong = append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("check layer store %s: %w", s.dir, err)
	}
	return nil
}

// isGone says whether a layer was removed meanwhile.
func (s *Store) isGone(id digest.Digest) bool {
	path, err := s.path(id)
	if err != nil {
		return false
	}
	_, err = os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

func (s *Store) check(ctx context.Context, id digest.Digest) error {
	l, err := s.Get(id)
	if err != nil {
		return err
	}
	c := census{ctx: ctx, owners: newOwners(ctx), seen: map[inode]struct{}{}}
	defer func() { _ = c.owners.close() }()
	root, err := l.open(c.owners)
	if err != nil {
		return fmt.Errorf("layer %s: %w", id, err)
	}
	defer unix.Close(root)
	if err := c.walk(root, "."); err != nil {
		return fmt.Errorf("layer %s: %w", id, err)
	}
	if c.names != l.Names || c.size != l.Size {
		return fmt.Errorf("layer %s: %d names and %d bytes; there were %d and %d when it was extracted",
			id, c.names, c.size, l.Names, l.Size)
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// A census counts what is below a folder.
type census struct {
	ctx    context.Context
	owners *owners
	names  int64
	size   int64
	seen   map[inode]struct{} // of files with several names
}

func (c *census) walk(dir int, name string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	fd, err := c.owners.open(dir, name, openDir)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, n := range names {
			if err := c.count(fd, n); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *census) count(dir int, name string) error {
	st, err := c.owners.stat(dir, name)
	if err != nil {
		return fmt.Errorf("stat %s: %w", name, err)
	}
	c.names++
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.walk(dir, name)
	case unix.S_IFREG:
		if st.Nlink > 1 {
			id := inode{uint64(st.Dev), st.Ino}
			if _, ok := c.seen[id]; ok {
				return nil
			}
			c.seen[id] = struct{}{}
		}
		c.size += st.Size
	}
	return nil
}
