package layer

import (
	"container/list"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxOpenDirs = 32 // descriptors that an extraction keeps; with more of them the kernel halts a pull to make its table larger
	maxLinks    = 40 // symbolic links in one name, as the kernel's
	openDir     = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// A dir is an open folder of the layer.
type dir struct {
	fd   int
	path string // without links
	key  string // as it was asked for
}

// A tree resolves names below a folder, one component at a time: each is opened relative to the descriptor of the one
// before and never followed; symbolic links are read, and resolved as if the layer's root were /. It keeps the
// descriptors of the folders used last.
type tree struct {
	root dir
	open map[string]*list.Element // by key
	used list.List                // of *dir, the most recent first
	last *dir

	// make makes the folder base in d, which has nothing of that name, or something that is not a folder. nil:
	// nothing is made.
	make func(d *dir, base string) error

	links int  // symbolic links followed for the current name
	stale bool // what is open may not be what a name leads to any more
}

func newTree(root int) *tree {
	return &tree{root: dir{fd: root}, open: map[string]*list.Element{}}
}

// folder returns the folder of a clean name, which it makes if need be. The result is good until the next call.
func (t *tree) folder(name string) (*dir, error) {
	if t.stale {
		t.forget()
		t.stale = false
	}
	if t.last != nil && t.last.key == name {
		return t.last, nil
	}
	t.links = 0
	d, err := t.walk(name)
	if err == nil && d != &t.root {
		t.last = d
	}
	return d, err
}

func (t *tree) walk(name string) (*dir, error) {
	if name == "" {
		return &t.root, nil
	}
	if e, ok := t.open[name]; ok {
		t.used.MoveToFront(e)
		return e.Value.(*dir), nil
	}
	parentName, base := splitName(name)
	parent, err := t.walk(parentName)
	if err != nil {
		return nil, err
	}
	at := joinName(parent.path, base)
	if len(at) > maxName {
		return nil, errLongName
	}
	for try := 0; ; try++ {
		fd, err := openat(parent.fd, base, openDir, 0)
		switch {
		case err == nil:
			return t.keep(&dir{fd: fd, path: at, key: name}), nil
		case try == 0 && t.make != nil && errors.Is(err, unix.ENOENT):
			if err := t.make(parent, base); err != nil {
				return nil, err
			}
			continue
		case !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP):
			return nil, fmt.Errorf("open folder %q: %w", at, err)
		}
		st, err := lstatat(parent.fd, base)
		switch {
		case err != nil:
			return nil, fmt.Errorf("stat %q: %w", at, err)
		case isWhiteout(st) && try == 0 && t.make != nil:
			if err := t.make(parent, base); err != nil {
				return nil, err
			}
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			return t.follow(parent, base, name)
		default:
			return nil, fmt.Errorf("%q: %w", at, unix.ENOTDIR)
		}
	}
}

// follow returns the folder that the symbolic link base in d leads to, and keeps it as name too.
func (t *tree) follow(d *dir, base, name string) (*dir, error) {
	if t.links++; t.links > maxLinks {
		return nil, fmt.Errorf("%q: %w", joinName(d.path, base), unix.ELOOP)
	}
	target, err := readlinkat(d.fd, base)
	if err != nil {
		return nil, fmt.Errorf("read link %q: %w", joinName(d.path, base), err)
	}
	at := d.path
	if strings.HasPrefix(target, "/") {
		at = ""
	}
	found := &t.root
	if at != "" {
		if found, err = t.walk(at); err != nil {
			return nil, err
		}
	}
	for component := range strings.SplitSeq(target, "/") {
		switch component {
		case "", ".":
			continue
		case "..":
			at, _ = splitName(at) // at has no links, so this is its parent; the root's is the root
		default:
			at = joinName(at, component)
		}
		if found, err = t.walk(at); err != nil {
			return nil, err
		}
		at = found.path
	}
	fd, err := unix.FcntlInt(uintptr(found.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return t.keep(&dir{fd: fd, path: found.path, key: name}), nil
}

// keep remembers d, and forgets the folder not used for longest when there are too many.
func (t *tree) keep(d *dir) *dir {
	t.open[d.key] = t.used.PushFront(d)
	if len(t.open) > maxOpenDirs {
		t.drop(t.used.Back())
	}
	return d
}

func (t *tree) drop(e *list.Element) {
	d := t.used.Remove(e).(*dir)
	delete(t.open, d.key)
	if t.last == d {
		t.last = nil
	}
	_ = unix.Close(d.fd)
}

// forget closes all folders but the root.
func (t *tree) forget() {
	for e := t.used.Front(); e != nil; e = t.used.Front() {
		t.drop(e)
	}
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
