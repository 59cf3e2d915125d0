package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	impliedMode = 0o755 // of a folder that the tar stream has no entry for
	opaqueXattr = "trusted.overlay.opaque"
	paxXattr    = "SCHILY.xattr."
	maxMajor    = 1<<12 - 1
	maxMinor    = 1<<20 - 1
	noID        = 1<<32 - 1 // chown(2) takes it for "leave it"
)

// A writer writes the entries of one tar stream below a folder.
type writer struct {
	ctx     context.Context
	tree    *tree
	options ExtractOptions
	owners  *owners                 // nil for root
	making  *sync.Mutex             // the store's
	fault   func(step string) error // in tests: fails a step; nil otherwise

	folders []folder         // in the stream's order
	index   map[string]int32 // of folders, by path

	entries  int64 // seen, and implied folders made
	declared int64 // bytes that the entries say they have

	names, size, usage int64
	opaque             bool
}

// A folder's owner, mode, attributes and times are set when all is in it: a group or an ACL that its files would
// inherit would change them, and each new file changes its time.
type folder struct {
	path    string
	implied bool // the stream has no entry for it
	gone    bool
	meta    meta
	xattrs  map[string]string
}

// meta is what entries of all types have.
type meta struct {
	uid, gid uint32
	mode     uint32 // the 12 bits of permissions
	times    [2]unix.Timespec
}

func newWriter(ctx context.Context, root int, o ExtractOptions) *writer {
	w := &writer{ctx: ctx, owners: newOwners(ctx), tree: newTree(root), options: o, index: map[string]int32{}}
	w.tree.make = w.imply
	w.note(folder{implied: true, meta: meta{mode: impliedMode}})
	return w
}

// note remembers a folder; what was known of it is replaced.
func (w *writer) note(f folder) {
	if i, ok := w.index[f.path]; ok {
		w.folders[i] = f
		return
	}
	w.index[f.path] = int32(len(w.folders))
	w.folders = append(w.folders, f)
}

func (w *writer) close() {
	w.tree.forget()
	_ = w.owners.close()
}

// step is called before each system call that changes something.
func (w *writer) step(name string) error {
	if w.fault == nil {
		return nil
	}
	return w.fault(name)
}

// alone calls make, which makes a file, for one layer at a time. Of the first inode in a block of its table ext4 knows that there is
// nothing to read from the disk. Of two that are made at once it does not, and reads, behind all that is being written.
func (w *writer) alone(make func() error) error {
	w.making.Lock()
	defer w.making.Unlock()
	return retry(make)
}

// extract writes the whole stream.
func (w *writer) extract(in *stage) (err error) {
	defer func() {
		if p := recover(); p != nil { // on hostile bytes
			err = fmt.Errorf("read tar: panic: %v", p)
		}
	}()
	tr := &tarReader{in: in}
	for {
		h, err := tr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		if err := context.Cause(w.ctx); err != nil {
			return err
		}
		if err := w.count(h.Size); err != nil {
			return &EntryError{h.Name, err}
		}
		if err := w.entry(h, tr); err != nil {
			if errors.Is(err, errStream) {
				return err
			}
			return &EntryError{h.Name, err}
		}
	}
	return w.finish()
}

// errStream marks what the stream, not an entry, is to blame for.
var errStream = errors.New("read tar")

func (w *writer) count(size int64) error {
	if w.entries++; w.entries > w.options.MaxNames {
		return fmt.Errorf("more than %d names: %w", w.options.MaxNames, ErrLimit)
	}
	if size < 0 {
		return fmt.Errorf("size %d: %w", size, unix.EINVAL)
	}
	if size > w.options.MaxSize-w.declared {
		return fmt.Errorf("files of more than %d bytes: %w", w.options.MaxSize, ErrLimit)
	}
	w.declared += size
	return nil
}

func (w *writer) entry(h *tar.Header, r *tarReader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if isMeta(name) {
		return nil
	}
	m, err := metaOf(h)
	if err != nil {
		return err
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errRoot
		}
		w.note(folder{meta: m, xattrs: xattrs(h)})
		return nil
	}
	parent, base := splitName(name)
	d, err := w.tree.folder(parent)
	if err != nil {
		return err
	}
	if len(d.path)+1+len(base) > maxName {
		return errLongName
	}
	removed, opaque, err := whiteout(base)
	switch {
	case err != nil:
		return err
	case opaque:
		return w.setOpaque(d)
	case removed != "":
		return w.whiteout(d, removed)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return w.directory(d, base, h, m)
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		return w.file(d, base, entryFile{h, m, r})
	case tar.TypeLink:
		return w.link(name, h.Linkname)
	case tar.TypeSymlink:
		return w.symlink(d, base, h, m)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return w.node(d, base, h, m)
	}
	return fmt.Errorf("type %q: not implemented: %w", h.Typeflag, errors.ErrUnsupported)
}

func metaOf(h *tar.Header) (meta, error) {
	if h.Uid < 0 || h.Uid >= noID || h.Gid < 0 || h.Gid >= noID {
		return meta{}, fmt.Errorf("owner %d:%d: %w", h.Uid, h.Gid, unix.EINVAL)
	}
	mtime := timespec(h.ModTime)
	atime := mtime
	if !h.AccessTime.IsZero() {
		atime = timespec(h.AccessTime)
	}
	return meta{uint32(h.Uid), uint32(h.Gid), uint32(h.Mode) & 0o7777, [2]unix.Timespec{atime, mtime}}, nil
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// xattrs returns the extended attributes of an entry, under the names by which they are kept.
func xattrs(h *tar.Header) map[string]string {
	var kept map[string]string
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			if name = xattrName(name); name != "" {
				if kept == nil {
					kept = map[string]string{}
				}
				kept[name] = v
			}
		}
	}
	return kept
}

// imply makes a folder that the stream has no entry for. It may be where the stream has a whiteout.
func (w *writer) imply(d *dir, base string) error {
	if err := w.count(0); err != nil {
		return err
	}
	if err := w.mkdir(d, base, impliedMode); err != nil {
		return err
	}
	w.note(folder{path: joinName(d.path, base), implied: true, meta: meta{mode: impliedMode}})
	return nil
}

// mkdir makes a folder, open to the program until finish, in the place of anything that is there and is none. In the place of a whiteout it is opaque:
// the kernel would show what lower layers have in it.
func (w *writer) mkdir(d *dir, base string, mode uint32) error {
	if err := w.step("mkdir"); err != nil {
		return err
	}
	err := w.alone(func() error { return unix.Mkdirat(d.fd, base, mode&0o777|0o700) })
	hides := false
	if errors.Is(err, unix.EEXIST) {
		if hides, err = w.vacate(d, base); err == nil {
			err = unix.Mkdirat(d.fd, base, mode&0o777|0o700)
		}
	}
	if err != nil {
		return fmt.Errorf("mkdir: %w", hint(err, "it takes root"))
	}
	w.names++
	if !hides {
		return nil
	}
	fd, err := openat(d.fd, base, openDir, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return w.setOpaque(&dir{fd: fd, path: joinName(d.path, base)})
}

// vacate removes what has an entry's name already, and says whether that was a whiteout.
func (w *writer) vacate(d *dir, base string) (wasWhiteout bool, err error) {
	st, err := lstatat(d.fd, base)
	if err != nil {
		return false, err
	}
	if err := w.step("remove"); err != nil {
		return false, err
	}
	var gone removal
	if err := gone.remove(d, base); err != nil {
		return false, fmt.Errorf("replace: %w", err)
	}
	w.names -= gone.names
	w.size -= gone.bytes
	w.usage -= gone.usage
	for _, path := range gone.folders {
		if i, ok := w.index[path]; ok {
			w.folders[i] = folder{gone: true}
			delete(w.index, path)
		}
	}
	// What is open may be below what was removed, or found through it.
	w.tree.stale = len(gone.folders) > 0 || st.Mode&unix.S_IFMT == unix.S_IFLNK || w.tree.stale
	return isWhiteout(st), nil
}

// directory handles a folder's entry.
func (w *writer) directory(d *dir, base string, h *tar.Header, m meta) error {
	fd, err := openat(d.fd, base, openDir, 0)
	if err == nil { // an entry twice, or after what is in it
		_ = unix.Close(fd)
	} else if err := w.mkdir(d, base, m.mode); err != nil {
		return err
	}
	w.note(folder{path: joinName(d.path, base), meta: m, xattrs: xattrs(h)})
	return nil
}

// setOpaque marks a folder as hiding those of the layers below.
func (w *writer) setOpaque(d *dir) error {
	if d.path == "" {
		w.opaque = true // overlayfs does not look for the mark at a layer's root; Mount leaves out what is below
	}
	if err := w.step("setxattr"); err != nil {
		return err
	}
	if err := unix.Fsetxattr(d.fd, opaqueName(), []byte("y"), 0); err != nil {
		return fmt.Errorf("set %s: %w", opaqueName(), hint(err, "it takes root"))
	}
	return nil
}

// whiteout handles the removal of a lower layer's file. A file of that name in this layer stays, as the specification
// says; a folder hides the lower one's content.
func (w *writer) whiteout(d *dir, name string) error {
	if err := w.step("mknod"); err != nil {
		return err
	}
	err := w.alone(func() error { return unix.Mknodat(d.fd, name, unix.S_IFCHR, 0) })
	if err == nil {
		w.names++
		return nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make whiteout: %w", hint(err, "it takes CAP_MKNOD"))
	}
	fd, err := openat(d.fd, name, openDir, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return w.setOpaque(&dir{fd: fd, path: joinName(d.path, name)})
}

// isZero says whether p has no other byte than 0.
func isZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

var zeros [4096]byte
