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

	"github.com/caisson-engine/caisson/namespace"
)

// Copy writes into the folder dir what a mount of the layers, the lowest first, would show: whiteouts and opaque folders
// applied, owners, modes, times, extended attributes, hard links, devices and holes as the layers have them, and no
// attribute of overlayfs. Data is shared with the layers where the file system can (reflinks). dir must exist and be
// empty. What was written stays when Copy fails: delete dir then. Nothing is synced. ctx bounds all of it.
//
// It needs no overlayfs and no right to mount; what owners and devices take it needs.
func Copy(ctx context.Context, layers []Layer, dir string) error {
	given := newOwners(ctx)
	if err := errors.Join(copyLayers(ctx, layers, dir, given), given.close()); err != nil {
		return fmt.Errorf("copy layers: %w", err)
	}
	return nil
}

// copyLayers gives what it makes to owners.
func copyLayers(ctx context.Context, layers []Layer, dir string, given *owners) (err error) {
	if len(layers) == 0 {
		return errors.New("there are none")
	}
	root, err := os.OpenFile(dir, openDir, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	if there, err := root.Readdirnames(1); len(there) > 0 {
		return fmt.Errorf("%s: %w", dir, unix.ENOTEMPTY)
	} else if err != io.EOF {
		return err
	}
	m := &merger{ctx: ctx, root: int(root.Fd()), owners: newOwners(ctx), given: given, links: map[inode]string{}, buf: make([]byte, chunkSize)}
	defer m.close()
	var stack []int
	for i := len(layers) - 1; i >= 0; i-- {
		if err := m.open(layers[i]); err != nil {
			return err
		}
		stack = append(stack, len(m.layers)-1)
		if layers[i].Opaque {
			break
		}
	}
	var low []mergeFolder
	for _, n := range stack {
		low = append(low, mergeFolder{m.layers[n].fd, n})
	}
	return m.folder(m.root, "", low)
}

// A merger writes the union of layers.
type merger struct {
	ctx    context.Context
	owners *owners // of the layers' files; nil for root
	given  *owners // of those that are made; nil for root
	root   int
	layers []chainLayer // the topmost first
	links  map[inode]string
	buf    []byte
}

// A mergeFolder is one layer's part of a folder.
type mergeFolder struct{ fd, layer int }

func (m *merger) open(l Layer) error {
	c := chainMaker{owners: m.owners}
	if err := c.add(l); err != nil {
		return err
	}
	m.layers = append(m.layers, c.layers...)
	return nil
}

func (m *merger) close() {
	_ = m.owners.close()
	for _, l := range m.layers {
		_ = unix.Close(l.fd)
	}
}

// folder fills the open folder to, then gives it the owner, mode, attributes and times of the topmost part that is not
// merely implied.
func (m *merger) folder(to int, path string, parts []mergeFolder) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	names := map[string]int{} // by name, the topmost part that has it
	for i, p := range parts {
		list, err := folderNames(p.fd)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		for _, name := range list {
			if _, ok := names[name]; !ok {
				names[name] = i
			}
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		if err := m.entry(to, joinName(path, name), parts[names[name]:]); err != nil {
			return err
		}
	}
	owner := parts[0]
	for _, p := range parts {
		if _, implied := m.layers[p.layer].implied[path]; !implied {
			owner = p
			break
		}
	}
	n, err := readNode(m.owners, owner.fd, "")
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if err := m.meta(to, path, n); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	return nil
}

// entry copies the file at path, which the first of the parts has.
func (m *merger) entry(to int, path string, parts []mergeFolder) error {
	_, base := splitName(path)
	n, err := readNode(m.owners, parts[0].fd, base)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	switch {
	case isWhiteout(&n.st) || hasMark(n, "whiteout"):
		return nil
	case n.isDir():
		return m.subfolder(to, path, parts)
	case hasMark(n, "metacopy"), hasMark(n, "redirect"):
		return fmt.Errorf("%q: overlayfs has it elsewhere: %w", path, errors.ErrUnsupported)
	}
	if err := m.leaf(leaf{from: parts[0].fd, to: to, path: path, base: base, node: n}); err != nil {
		return fmt.Errorf("%q: %w", path, hint(err, "it takes root"))
	}
	return nil
}

// hasMark says whether overlayfs has marked a file of an upper folder.
func hasMark(n *node, mark string) bool {
	_, ok := n.xattrs[overlayClass()+mark]
	return ok
}

// subfolder makes a folder of the parts' folders down to the first that hides the rest.
func (m *merger) subfolder(to int, path string, parts []mergeFolder) (err error) {
	if len(path) > maxName {
		return errLongName
	}
	_, base := splitName(path)
	var below []mergeFolder
	defer func() {
		for _, p := range below {
			_ = unix.Close(p.fd)
		}
	}()
	for _, p := range parts {
		fd, err := m.owners.open(p.fd, base, openDir)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			break // a file, a link, a whiteout
		}
		if err != nil {
			return fmt.Errorf("open folder %q: %w", path, err)
		}
		below = append(below, mergeFolder{fd, p.layer})
		var value [2]byte
		if n, err := unix.Fgetxattr(fd, opaqueName(), value[:]); err == nil && string(value[:n]) == "y" {
			break
		}
	}
	if len(below) == 0 {
		return fmt.Errorf("%q: %w", path, errChanged)
	}
	if err := retry(func() error { return unix.Mkdirat(to, base, 0o700) }); err != nil {
		return fmt.Errorf("mkdir %q: %w", path, hint(err, "it takes root"))
	}
	fd, err := openat(to, base, openDir, 0)
	if err != nil {
		return fmt.Errorf("open folder %q: %w", path, err)
	}
	defer unix.Close(fd)
	return m.folder(fd, path, below)
}

// A leaf is a file that is no folder, on its way.
type leaf struct {
	from, to   int
	path, base string
	node       *node
}

func (m *merger) leaf(l leaf) error {
	st := &l.node.st
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := m.links[id]; ok {
			// All folders on the way were made here, none is a link.
			err := retry(func() error { return unix.Linkat(m.root, first, l.to, l.base, 0) })
			return m.given.or(err, unix.SYS_LINKAT, namespace.Descriptor(m.root), first, namespace.Descriptor(l.to), l.base, 0)
		}
		m.links[id] = l.path
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return m.regular(l)
	case unix.S_IFLNK:
		if err := retry(func() error { return unix.Symlinkat(l.node.link, l.to, l.base) }); err != nil {
			return fmt.Errorf("symlink: %w", err)
		}
	case unix.S_IFSOCK:
		return nil // of a program that ran: as a tar stream, without it
	default:
		if err := retry(func() error { return unix.Mknodat(l.to, l.base, st.Mode, int(st.Rdev)) }); err != nil {
			return fmt.Errorf("mknod: %w", err)
		}
	}
	return m.metaAt(l)
}

func (m *merger) regular(l leaf) error {
	const read = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	in, err := m.owners.open(l.from, l.base, read)
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(in), l.base)
	defer src.Close()
	out, err := openat(l.to, l.base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	dst := os.NewFile(uintptr(out), l.base)
	defer dst.Close()
	if err := m.content(src, dst, l.node.st); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if err := m.meta(out, l.path, l.node); err != nil {
		return err
	}
	return dst.Close()
}

// content shares the file's data, or copies the parts that are no holes.
func (m *merger) content(src, dst *os.File, st unix.Stat_t) error {
	if st.Size == 0 || unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return nil
	}
	parts := []extent{{0, st.Size}}
	if st.Blocks*512 < st.Size {
		found, err := extents(src, st.Size)
		if err != nil {
			return err
		}
		if found != nil {
			parts = found
		}
	}
	for _, p := range parts {
		if _, err := dst.Seek(p.at, 0); err != nil {
			return err
		}
		if err := copyParts(m.ctx, dst, src, []extent{p}, m.buf); err != nil {
			return err
		}
	}
	return dst.Truncate(st.Size)
}

// meta gives an open file or folder what the node has.
func (m *merger) meta(fd int, path string, n *node) error {
	var own unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	uid, gid := m.owners.container(&n.st, n.xattrs)
	changed, err := m.given.chown(fd, &own, uid, gid)
	if err != nil {
		return fmt.Errorf("chown to %d:%d: %w", n.st.Uid, n.st.Gid, hint(err, "it takes CAP_CHOWN"))
	}
	if err := m.given.chmod(fd, n.st.Mode&0o7777, changed); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	for name, value := range m.shown(n) {
		if err := m.given.setxattr(fd, name, value); err != nil && !lacks(name, err) {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return m.given.utimes(fd, &[2]unix.Timespec{n.st.Atim, n.st.Mtim})
}

// metaAt is meta for a file that cannot be opened.
func (m *merger) metaAt(l leaf) error {
	st := &l.node.st
	own, err := lstatat(l.to, l.base)
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	uid, gid := m.owners.container(st, nil)
	if err := m.given.chownAt(l.to, l.base, own, uid, gid); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", st.Uid, st.Gid, hint(err, "it takes CAP_CHOWN"))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		err := unix.Fchmodat(l.to, l.base, st.Mode&0o7777, 0)
		if err = m.given.or(err, unix.SYS_FCHMODAT, namespace.Descriptor(l.to), l.base, st.Mode&0o7777); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	for name, value := range m.shown(l.node) {
		if err := unix.Lsetxattr(procPath(l.to, l.base), name, []byte(value), 0); err != nil && !lacks(name, err) {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return m.given.utimesAt(l.to, l.base, &[2]unix.Timespec{st.Atim, st.Mtim})
}

// shown returns the attributes that a mount would show.
func (m *merger) shown(n *node) map[string]string {
	all := map[string]string{}
	for name, value := range n.xattrs {
		if rest, ok := strings.CutPrefix(name, overlayClass()); ok {
			inner, escaped := strings.CutPrefix(rest, overlayEscape)
			if !escaped || inner == "" {
				continue
			}
			name = overlayClass() + inner
		}
		if xattrName(name) != "" {
			all[name] = value
		}
	}
	return all
}

// lacks says whether an attribute may be left out: its class is not of this file system or type of file.
func lacks(name string, err error) bool {
	return strings.HasPrefix(name, "user.") && (errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM))
}
