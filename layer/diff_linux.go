package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errReserved is of a file that a layer cannot hold: extraction would take it for a whiteout.
var errReserved = errors.New("names that start with " + whiteoutPrefix + " mean something else in a layer")

// errXattrName is of an extended attribute that pax records would give another name and value.
var errXattrName = errors.New("extended attributes with an equals sign in their names have no place in a tar stream")

// An archiver writes the files of a folder as a tar stream.
type archiver struct {
	ctx   context.Context
	tar   tarWriter
	buf   []byte
	links map[inode]string // files with several names, by their first

	layer bool   // whiteouts are to be written as layers have them
	class string // of overlayfs's attributes in an upper folder, with the dot after it; "" when it is none

	owners *owners // nil for root
}

func newArchiver(ctx context.Context, w io.Writer) *archiver {
	return &archiver{ctx: ctx, owners: newOwners(ctx), tar: tarWriter{w: w}, buf: make([]byte, chunkSize), links: map[inode]string{}}
}

// Archive writes all that is in the folder dir, and the folder itself as "./", as a tar stream: owners, modes, times to
// the nanosecond, extended attributes, file capabilities and ACLs, hard links, devices, FIFOs and the holes of sparse
// files. Sockets, labels of the host's security module and extended attributes of unknown classes are left out. The
// stream is uncompressed, in the format of pax(1), its entries sorted by name. dir is resolved once, links in it are not
// followed, and file systems mounted below it are archived too.
//
// A file that gets shorter while it is read is an *EntryError, and so is one of whose extended attributes one has an equals
// sign in its name, which the format cannot hold; ctx bounds all of it but for a Write of w that waits.
func Archive(ctx context.Context, w io.Writer, dir string) error {
	a := newArchiver(ctx, w)
	if err := a.run(dir, a.all); err != nil {
		return fmt.Errorf("archive %s: %w", dir, err)
	}
	return nil
}

// Diff writes a layer, as an uncompressed tar stream such as [Archive] writes, that makes what is in the folder dir of
// what is below. When dir is what an overlay keeps its changes in ([MountOptions].Upper), it is what was changed: files
// that were removed become whiteouts, by whichever of overlayfs's marks (a character device 0:0, or Linux ≥ 6.7 an
// attribute), and folders that hide those below become opaque; overlayfs's own attributes are left out, and what it
// escaped of others is unescaped. With o.Lower, dir and that are whole trees, and the layer holds the files of which
// anything differs, those below which something differs, and whiteouts for those that are gone. Files of one size and
// modification time count as equal, unless that has no fraction of a second: then their bytes decide.
//
// What [Store.Extract] makes of it is the same again. A file whose name starts with ".wh." is an *EntryError: layers
// cannot hold it. So is one that overlayfs keeps elsewhere (the attributes metacopy and redirect, which [Mount] turns
// off): that satisfies errors.ErrUnsupported. What is written to the folder meanwhile may be in the layer or not.
func Diff(ctx context.Context, w io.Writer, dir string, o *DiffOptions) error {
	if o == nil {
		o = &DiffOptions{}
	}
	a := newArchiver(ctx, w)
	a.layer, a.owners = true, ownersBy(ctx, o.UIDMappings, o.GIDMappings)
	walk := a.all
	switch {
	case o.Lower != "" && o.UserXattr:
		return fmt.Errorf("diff %s: options Lower and UserXattr exclude each other: %w", dir, unix.EINVAL)
	case o.Lower != "":
		walk = func(root *dirNode) error { return a.compare(root, o.Lower) }
	case o.UserXattr:
		a.class = "user.overlay."
	default:
		a.class = overlayClass()
	}
	if err := a.run(dir, walk); err != nil {
		return fmt.Errorf("diff %s: %w", dir, err)
	}
	return nil
}

// A dirNode is an open folder.
type dirNode struct {
	fd   int
	name string
	node *node
}

func openRoot(path string) (*dirNode, func(), error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := readNode(nil, int(f.Fd()), "")
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return &dirNode{fd: int(f.Fd()), node: n}, func() { _ = f.Close() }, nil
}

func (a *archiver) run(path string, walk func(*dirNode) error) error {
	defer func() { _ = a.owners.close() }()
	root, done, err := openRoot(path)
	if err != nil {
		return err
	}
	defer done()
	if err := walk(root); err != nil {
		return err
	}
	return a.tar.close()
}

// all writes a folder and what is in it.
func (a *archiver) all(d *dirNode) error {
	if err := a.folder(d); err != nil {
		return err
	}
	names, err := folderNames(d.fd)
	if err != nil {
		return &EntryError{d.name, err}
	}
	for _, base := range names {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		n, err := readNode(a.owners, d.fd, base)
		if errors.Is(err, unix.ENOENT) {
			continue // removed meanwhile
		}
		if err != nil {
			return &EntryError{joinName(d.name, base), err}
		}
		if n.isDir() {
			err = a.below(d, base, a.all)
		} else {
			err = a.file(d, base, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below opens the folder base in d for f.
func (a *archiver) below(d *dirNode, base string, f func(*dirNode) error) error {
	name := joinName(d.name, base)
	fd, err := a.owners.open(d.fd, base, openDir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &EntryError{name, err}
	}
	defer unix.Close(fd)
	n, err := readNode(a.owners, fd, "")
	if err != nil {
		return &EntryError{name, err}
	}
	return f(&dirNode{fd: fd, name: name, node: n})
}

// folder writes a folder's entry.
func (a *archiver) folder(d *dirNode) error {
	if err := a.check(d.name, d.node); err != nil {
		return &EntryError{d.name, err}
	}
	e := a.entry(d.name, d.node)
	e.name, e.typ = cmpRoot(d.name)+"/", '5'
	if err := a.write(e); err != nil {
		return err
	}
	if a.class != "" && d.node.xattrs[a.class+"opaque"] == "y" {
		return a.mark(joinName(d.name, whiteoutOpaque))
	}
	return nil
}

func cmpRoot(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// file writes the entry of anything but a folder.
func (a *archiver) file(d *dirNode, base string, n *node) error {
	name := joinName(d.name, base)
	if a.class != "" && a.isWhiteout(n) {
		return a.mark(joinName(d.name, whiteoutPrefix+base))
	}
	if err := a.check(name, n); err != nil {
		return &EntryError{name, err}
	}
	e := a.entry(name, n)
	id := inode{n.st.Dev, n.st.Ino}
	if first, ok := a.links[id]; ok && n.st.Nlink > 1 {
		e.typ, e.link, e.xattrs = '1', first, nil
		return a.write(e)
	}
	switch n.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if err := a.regular(d, base, e); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil
			}
			return &EntryError{name, err}
		}
	case unix.S_IFLNK:
		e.typ, e.link = '2', n.link
	case unix.S_IFCHR:
		e.typ, e.rdev = '3', n.st.Rdev
	case unix.S_IFBLK:
		e.typ, e.rdev = '4', n.st.Rdev
	case unix.S_IFIFO:
		e.typ = '6'
	default:
		return nil // a socket, which means nothing without who listens
	}
	if n.st.Nlink > 1 {
		a.links[id] = name
	}
	if e.typ == '0' {
		return nil // written
	}
	return a.write(e)
}

func (a *archiver) isWhiteout(n *node) bool {
	if isWhiteout(&n.st) {
		return true
	}
	_, marked := n.xattrs[a.class+"whiteout"]
	return marked && n.st.Mode&unix.S_IFMT == unix.S_IFREG && n.st.Size == 0
}

// check refuses what a layer cannot hold.
func (a *archiver) check(name string, n *node) error {
	if len(name) > maxName {
		return errLongName
	}
	for k := range n.xattrs {
		if strings.Contains(k, "=") && a.xattrName(k) != "" {
			return fmt.Errorf("%w: %.80q", errXattrName, k)
		}
	}
	if !a.layer {
		return nil
	}
	if _, base := splitName(name); strings.HasPrefix(base, whiteoutPrefix) {
		return errReserved
	}
	for _, mark := range []string{"metacopy", "redirect"} {
		if _, ok := n.xattrs[a.class+mark]; ok && a.class != "" {
			return fmt.Errorf("overlayfs has it elsewhere (%s%s): %w", a.class, mark, errors.ErrUnsupported)
		}
	}
	return nil
}

// entry returns what entries of all types have.
func (a *archiver) entry(name string, n *node) *tarEntry {
	e := &tarEntry{name: name, mode: n.st.Mode & 0o7777, mtime: n.st.Mtim, rdev: 0}
	e.uid, e.gid = a.owners.container(&n.st, n.xattrs)
	for k, v := range n.xattrs {
		if k = a.xattrName(k); k != "" {
			if e.xattrs == nil {
				e.xattrs = map[string]string{}
			}
			e.xattrs[k] = v
		}
	}
	return e
}

// xattrName returns the name that an attribute has in the stream, "" for one that is left out.
func (a *archiver) xattrName(name string) string {
	if a.owners != nil && name == ownerXattr {
		return "" // the entry has it
	}
	if a.class == "" {
		if xattrName(name) == "" {
			return ""
		}
		return name
	}
	for _, class := range []string{"trusted.overlay.", "user.overlay."} {
		rest, ok := strings.CutPrefix(name, class)
		if !ok {
			continue
		}
		if inner, escaped := strings.CutPrefix(rest, overlayEscape); escaped && inner != "" {
			return class + inner
		}
		if class == a.class {
			return "" // overlayfs's own
		}
	}
	if xattrName(name) == "" {
		return ""
	}
	return name
}

// write writes an entry that has no content.
func (a *archiver) write(e *tarEntry) error {
	if err := a.tar.begin(e); err != nil {
		return err
	}
	return a.tar.end()
}

// mark writes a whiteout.
func (a *archiver) mark(name string) error {
	return a.write(&tarEntry{name: name, typ: '0'})
}

// regular writes a regular file.
func (a *archiver) regular(d *dirNode, base string, e *tarEntry) error {
	fd, err := a.owners.open(d.fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errChanged
	}
	e.typ, e.size = '0', st.Size
	parts := []extent{{0, st.Size}}
	if st.Blocks*512 < st.Size {
		if e.holes, err = extents(f, st.Size); err != nil {
			return err
		}
		if e.holes != nil {
			parts = e.holes
		}
	}
	if err := a.tar.begin(e); err != nil {
		return err
	}
	if err := copyParts(a.ctx, &a.tar, f, parts, a.buf); err != nil {
		return err
	}
	return a.tar.end()
}
