package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A change is a file of the newer of two trees, or one that only the older has.
type change struct {
	name    string
	node    *node // nil: it is gone
	lower   *node // nil: it is new
	changed bool
}

// compare writes what makes the tree root of the tree at the path lower. It looks at all first: hard links bind files in
// different places together, and a folder's entry comes before it is known whether something below differs.
func (a *archiver) compare(root *dirNode, lower string) error {
	low, done, err := openRoot(lower)
	if err != nil {
		return err
	}
	defer done()
	c := &comparison{archiver: a}
	if err := c.folders(root, low); err != nil {
		return err
	}
	c.hardLinks()
	c.parents()
	return c.write(root)
}

type comparison struct {
	*archiver
	list []*change // folders before what is in them
}

// folders compares two folders of the same name.
func (c *comparison) folders(d, low *dirNode) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.check(d.name, d.node); err != nil {
		return &EntryError{d.name, err}
	}
	c.list = append(c.list, &change{d.name, d.node, low.node, !sameMeta(d.node, low.node)})
	names, err := folderNames(d.fd)
	if err != nil {
		return &EntryError{d.name, err}
	}
	old, err := folderNames(low.fd)
	if err != nil {
		return &EntryError{d.name, err}
	}
	all := slices.Concat(names, old)
	slices.Sort(all)
	for _, base := range slices.Compact(all) {
		if err := c.names(d, low, base); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) names(d, low *dirNode, base string) error {
	name := joinName(d.name, base)
	n, err := readIfThere(c.owners, d.fd, base)
	if err != nil {
		return &EntryError{name, err}
	}
	old, err := readIfThere(c.owners, low.fd, base)
	if err != nil {
		return &EntryError{name, err}
	}
	switch {
	case n == nil && old == nil:
		return nil
	case n == nil:
		c.list = append(c.list, &change{name, nil, old, true})
		return nil
	case n.isDir() && old != nil && old.isDir():
		return c.below(d, base, func(d *dirNode) error {
			return c.below(low, base, func(low *dirNode) error { return c.folders(d, low) })
		})
	case n.isDir():
		return c.below(d, base, c.fresh)
	}
	if err := c.check(name, n); err != nil {
		return &EntryError{name, err}
	}
	same := old != nil && sameMeta(n, old)
	if same && n.st.Mtim.Nsec == 0 && n.st.Mode&unix.S_IFMT == unix.S_IFREG {
		if same, err = sameBytes(c.owners, d.fd, low.fd, base); err != nil {
			return &EntryError{name, err}
		}
	}
	c.list = append(c.list, &change{name, n, old, !same})
	return nil
}

func readIfThere(o *owners, fd int, base string) (*node, error) {
	n, err := readNode(o, fd, base)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return n, err
}

// fresh lists a folder that is new, or where something else was.
func (c *comparison) fresh(d *dirNode) error {
	if err := c.check(d.name, d.node); err != nil {
		return &EntryError{d.name, err}
	}
	c.list = append(c.list, &change{d.name, d.node, nil, true})
	names, err := folderNames(d.fd)
	if err != nil {
		return &EntryError{d.name, err}
	}
	for _, base := range names {
		n, err := readIfThere(c.owners, d.fd, base)
		if err == nil && n != nil {
			if n.isDir() {
				err = c.below(d, base, c.fresh)
			} else if err = c.check(joinName(d.name, base), n); err == nil {
				c.list = append(c.list, &change{joinName(d.name, base), n, nil, true})
			}
		}
		if err != nil {
			var entry *EntryError
			if errors.As(err, &entry) {
				return err
			}
			return &EntryError{joinName(d.name, base), err}
		}
	}
	return nil
}

// sameMeta says whether all is equal but for the content of files.
func sameMeta(a, b *node) bool {
	if a.st.Mode != b.st.Mode || a.st.Uid != b.st.Uid || a.st.Gid != b.st.Gid || a.st.Rdev != b.st.Rdev ||
		a.st.Mtim != b.st.Mtim || a.link != b.link {
		return false
	}
	if !a.isDir() && a.st.Size != b.st.Size {
		return false
	}
	keep := func(k, _ string) bool { return xattrName(k) == "" }
	x, y := maps.Clone(a.xattrs), maps.Clone(b.xattrs)
	maps.DeleteFunc(x, keep)
	maps.DeleteFunc(y, keep)
	return maps.Equal(x, y)
}

// sameBytes compares the content of two files.
func sameBytes(o *owners, d, low int, base string) (bool, error) {
	open := func(dir int) (*os.File, error) {
		fd, err := o.open(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), base), nil
	}
	a, err := open(d)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := open(low)
	if err != nil {
		return false, err
	}
	defer b.Close()
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, x)
		m, err2 := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		end2 := err2 == io.EOF || err2 == io.ErrUnexpectedEOF
		switch {
		case err != nil && !end:
			return false, err
		case err2 != nil && !end2:
			return false, err2
		case end || end2:
			return end == end2, nil
		}
	}
}

// hardLinks marks all names of a file when one is marked, or when the names are not one file's in the older tree, or
// one of more names there: a layer can only add links within itself.
func (c *comparison) hardLinks() {
	groups := map[inode][]*change{}
	for _, f := range c.list {
		if f.node != nil && !f.node.isDir() && (f.node.st.Nlink > 1 || f.lower != nil && f.lower.st.Nlink > 1) {
			id := inode{f.node.st.Dev, f.node.st.Ino}
			groups[id] = append(groups[id], f)
		}
	}
	for _, group := range groups {
		changed := false
		for _, f := range group {
			changed = changed || f.changed || f.lower == nil || f.lower.st.Ino != group[0].lower.st.Ino ||
				f.lower.st.Nlink != f.node.st.Nlink
		}
		for _, f := range group {
			f.changed = f.changed || changed
		}
	}
}

// parents marks the folders above what is marked: where a layer has no entry for a folder, some engines make one with
// an owner and mode of their own.
func (c *comparison) parents() {
	above := map[string]bool{}
	for _, f := range slices.Backward(c.list) {
		f.changed = f.changed || above[f.name]
		if f.changed && f.name != "" {
			parent, _ := splitName(f.name)
			above[parent] = true
		}
	}
}

func (c *comparison) write(root *dirNode) error {
	t := newTree(root.fd)
	defer t.forget()
	for _, f := range c.list {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if !f.changed {
			continue
		}
		parent, base := splitName(f.name)
		switch {
		case f.node == nil:
			if err := c.mark(joinName(parent, whiteoutPrefix+base)); err != nil {
				return err
			}
		case f.node.isDir():
			if err := c.folder(&dirNode{name: f.name, node: f.node}); err != nil {
				return err
			}
		default:
			d, err := t.folder(parent)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return &EntryError{f.name, fmt.Errorf("open folder: %w", err)}
			}
			if err := c.file(&dirNode{fd: d.fd, name: parent}, base, f.node); err != nil {
				return err
			}
		}
	}
	return nil
}
