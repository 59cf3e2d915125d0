package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// An entryFile is a regular file's entry.
type entryFile struct {
	h *tar.Header
	m meta
	r *tarReader
}

// create calls make, after the removal of what has the name already.
func (w *writer) create(d *dir, base, what string, make func() error) error {
	if err := w.step(what); err != nil {
		return err
	}
	err := w.alone(make)
	if errors.Is(err, unix.EEXIST) {
		if _, err = w.vacate(d, base); err == nil {
			err = w.alone(make)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, hint(err, "it takes root"))
	}
	w.names++
	return nil
}

// file writes a regular file: first its bytes, since writing takes away set-user-ID bits and capabilities; then its
// owner, since changing it does so too; then mode, attributes, times.
func (w *writer) file(d *dir, base string, e entryFile) (err error) {
	fd := -1
	if err := w.create(d, base, "create file", func() (err error) {
		const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err = unix.Openat(d.fd, base, flags, e.m.mode&0o777)
		return err
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := w.content(fd, e); err != nil {
		return err
	}
	st, err := w.own(fd, e.m)
	if err != nil {
		return err
	}
	w.size += e.h.Size
	w.usage += st.Blocks * 512
	for name, value := range xattrs(e.h) {
		if err := w.xattr(name, func() error { return w.owners.setxattr(fd, name, value) }); err != nil {
			return err
		}
	}
	return w.times(fd, &e.m.times)
}

// content copies an entry's bytes. Of a sparse file, what is zero becomes a hole.
func (w *writer) content(fd int, e entryFile) error {
	sparse := isSparse(e.h)
	hole := false
	for left := e.h.Size; left > 0; {
		if err := context.Cause(w.ctx); err != nil { // a hole takes long and reads nothing
			return err
		}
		p, err := e.r.take(left)
		left -= int64(len(p))
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("%w: %q: %w", errStream, e.h.Name, err)
		}
		if hole = sparse && isZero(p); hole {
			_, err = unix.Seek(fd, int64(len(p)), io.SeekCurrent)
		} else if err = w.step("write"); err == nil {
			err = w.write(fd, p, sparse)
		}
		if err != nil {
			return fmt.Errorf("write: %w", hint(err, "the file system forbids it"))
		}
	}
	if hole {
		if err := w.step("truncate"); err != nil {
			return err
		}
		if err := unix.Ftruncate(fd, e.h.Size); err != nil {
			return fmt.Errorf("truncate: %w", err)
		}
	}
	return nil
}

// write writes p, with holes for its zero blocks when sparse.
func (w *writer) write(fd int, p []byte, sparse bool) error {
	if !sparse {
		return writeAll(fd, p)
	}
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		zero := n == len(zeros) && len(p) > n && isZero(p[:n]) // the last block is written: it gives the file its size
		for n < len(p) && len(p)-n > len(zeros) && isZero(p[n:n+len(zeros)]) == zero {
			n += len(zeros)
		}
		if zero {
			if _, err := unix.Seek(fd, int64(n), io.SeekCurrent); err != nil {
				return err
			}
		} else if err := writeAll(fd, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// own gives an open file or folder its owner and mode. It asks first: most have them from their creation, and a change
// costs more than the question.
func (w *writer) own(fd int, m meta) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	mode := st.Mode & 0o7777
	special, changed := false, false
	if st.Uid != m.uid || st.Gid != m.gid {
		if err := w.step("chown"); err != nil {
			return nil, err
		}
		var err error
		if changed, err = w.owners.chown(fd, &st, m.uid, m.gid); err != nil {
			return nil, fmt.Errorf("chown to %d:%d: %w", m.uid, m.gid, hint(err, "it takes CAP_CHOWN"))
		}
		special = (mode|m.mode)&0o6000 != 0 // the kernel takes these bits away, of files that are not folders
	}
	if mode != m.mode || special {
		if err := w.step("chmod"); err != nil {
			return nil, err
		}
		if err := w.owners.chmod(fd, m.mode, changed); err != nil {
			return nil, fmt.Errorf("chmod: %w", hint(err, "it takes CAP_FOWNER"))
		}
	}
	return &st, nil
}

// xattr calls set. The class user.* is left out where the file system or the type of file has none.
func (w *writer) xattr(name string, set func() error) error {
	if !w.owners.keeps(name) {
		return nil
	}
	if err := w.step("setxattr"); err != nil {
		return err
	}
	err := set()
	if strings.HasPrefix(name, "user.") && (errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", name, hint(err, "it takes root"))
	}
	return nil
}

func (w *writer) times(fd int, times *[2]unix.Timespec) error {
	if err := w.step("utimes"); err != nil {
		return err
	}
	if err := w.owners.utimes(fd, times); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// link makes a hard link to a file of the same layer.
func (w *writer) link(name, target string) error {
	clean, err := cleanName(target)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	if clean == "" {
		return fmt.Errorf("hard link to %q: %w", target, unix.EISDIR)
	}
	toName, toBase := splitName(clean)
	dirName, base := splitName(name)
	// Not made if missing: then the target is missing too.
	w.tree.make = nil
	to, err := w.tree.folder(toName)
	w.tree.make = w.imply
	if err != nil {
		return fmt.Errorf("hard link to %q, which must be in the same layer: %w", target, err)
	}
	st, err := lstatat(to.fd, toBase)
	switch {
	case err != nil:
		return fmt.Errorf("hard link to %q, which must be in the same layer: %w", target, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return fmt.Errorf("hard link to %q: %w", target, unix.EISDIR)
	case isWhiteout(st):
		return fmt.Errorf("hard link to %q, which the layer removes: %w", target, unix.ENOENT)
	}
	toFD, toPath := to.fd, joinName(to.path, toBase)
	d := to
	if dirName != toName {
		// Finding a deep folder may close the other one.
		if toFD, err = unix.FcntlInt(uintptr(to.fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
		defer unix.Close(toFD)
		if d, err = w.tree.folder(dirName); err != nil {
			return err
		}
	}
	if joinName(d.path, base) == toPath {
		return nil // a link to itself: there already
	}
	if old, err := lstatat(d.fd, base); err == nil && old.Dev == st.Dev && old.Ino == st.Ino {
		return nil
	} else if err == nil && strings.HasPrefix(toPath, joinName(d.path, base)+"/") {
		return fmt.Errorf("hard link to %q, which it would replace: %w", target, unix.ENOENT)
	}
	return w.create(d, base, "link", func() error {
		return w.owners.or(unix.Linkat(toFD, toBase, d.fd, base, 0),
			unix.SYS_LINKAT, namespace.Descriptor(toFD), toBase, namespace.Descriptor(d.fd), base, 0)
	})
}

func (w *writer) symlink(d *dir, base string, h *tar.Header, m meta) error {
	if err := w.create(d, base, "symlink", func() error {
		return unix.Symlinkat(h.Linkname, d.fd, base)
	}); err != nil {
		return err
	}
	return w.metaAt(d, base, h, m)
}

// node makes a device or a FIFO.
func (w *writer) node(d *dir, base string, h *tar.Header, m meta) error {
	mode, dev := uint32(unix.S_IFIFO), uint64(0)
	if h.Typeflag != tar.TypeFifo {
		if w.owners != nil || !namespace.FirstUserNamespace() {
			return nil // the kernel makes none there, nor would it open one
		}
		if h.Devmajor < 0 || h.Devmajor > maxMajor || h.Devminor < 0 || h.Devminor > maxMinor {
			return fmt.Errorf("device %d:%d: %w", h.Devmajor, h.Devminor, unix.EINVAL)
		}
		mode, dev = unix.S_IFCHR, unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		if h.Typeflag == tar.TypeBlock {
			mode = unix.S_IFBLK
		}
	}
	if err := w.create(d, base, "mknod", func() error {
		return unix.Mknodat(d.fd, base, mode|m.mode&0o777, int(dev))
	}); err != nil {
		return err
	}
	return w.metaAt(d, base, h, m)
}

// metaAt gives a file that cannot be opened its owner, mode, attributes and times.
func (w *writer) metaAt(d *dir, base string, h *tar.Header, m meta) error {
	st, err := lstatat(d.fd, base)
	if err != nil {
		return err
	}
	w.usage += st.Blocks * 512
	if st.Uid != m.uid || st.Gid != m.gid {
		if err := w.step("chown"); err != nil {
			return err
		}
		if err := w.owners.chownAt(d.fd, base, st, m.uid, m.gid); err != nil {
			return fmt.Errorf("chown to %d:%d: %w", m.uid, m.gid, hint(err, "it takes CAP_CHOWN"))
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := w.step("chmod"); err != nil {
			return err
		}
		err := unix.Fchmodat(d.fd, base, m.mode, 0) // not a link: made by this writer
		if err = w.owners.or(err, unix.SYS_FCHMODAT, namespace.Descriptor(d.fd), base, m.mode); err != nil {
			return fmt.Errorf("chmod: %w", hint(err, "it takes CAP_FOWNER"))
		}
	}
	for name, value := range xattrs(h) {
		if err := w.xattr(name, func() error {
			return unix.Lsetxattr(procPath(d.fd, base), name, []byte(value), 0)
		}); err != nil {
			return err
		}
	}
	if err := w.step("utimes"); err != nil {
		return err
	}
	if err := w.owners.utimesAt(d.fd, base, &m.times); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// finish writes what was noted of the folders.
func (w *writer) finish() error {
	w.tree.make = nil
	for i := range slices.Backward(w.folders) { // a folder may be closed to the program once it is finished
		if err := context.Cause(w.ctx); err != nil {
			return err
		}
		if f := &w.folders[i]; !f.gone {
			if err := w.finishFolder(f); err != nil {
				return &EntryError{f.path, err}
			}
		}
	}
	return nil
}

func (w *writer) finishFolder(f *folder) error {
	d, err := w.tree.folder(f.path)
	if err != nil {
		return err
	}
	st, err := w.own(d.fd, f.meta)
	if err != nil {
		return err
	}
	w.usage += st.Blocks * 512
	for name, value := range f.xattrs {
		if err := w.xattr(name, func() error {
			return w.owners.setxattr(d.fd, name, value)
		}); err != nil {
			return err
		}
	}
	return w.times(d.fd, &f.meta.times)
}
