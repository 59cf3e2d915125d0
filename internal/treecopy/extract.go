package treecopy

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

// Options change how a stream is extracted.
type Options struct {
	// Rename gives an entry, whose name is clean, another name; "" leaves it out. Nil changes none.
	Rename func(name string) string
	// Owners gives files the owners that the stream says. By default they belong to who runs the program.
	Owners bool
	// Owner changes the owners that the stream says. Nil changes none.
	Owner func(uid, gid int) (int, int)
	// NoSetID leaves the set-user-ID and set-group-ID bits of files out: what ran as somebody there is not to run as
	// whoever it belongs to here.
	NoSetID bool
	// Check, if it is not nil, is called with each entry before anything is made of it: its error ends the extraction.
	Check func(*tar.Header) error
}

// Extract makes the files of a tar stream in root. A file takes the place of one of its name, a folder goes together with
// one; a file in place of a folder, and a folder in place of a file, are errors. Times are set, and modes; extended
// attributes are not. ctx is looked at between reads.
func Extract(ctx context.Context, root Tree, r io.Reader, o *Options) error {
	if o == nil {
		o = &Options{}
	}
	x := &extractor{root: root, files: changerOf(root), o: o}
	for t := tar.NewReader(&reader{ctx, r}); ; {
		h, err := t.Next()
		if err == io.EOF {
			return x.finish()
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if o.Check != nil {
			if err := o.Check(h); err != nil {
				return err
			}
		}
		if o.Owner != nil {
			h.Uid, h.Gid = o.Owner(h.Uid, h.Gid)
		}
		if err := x.entry(h, t); err != nil {
			return fmt.Errorf("%.300s: %w", h.Name, err)
		}
	}
}

type extractor struct {
	root    Tree
	files   changer
	o       *Options
	folders []folder // whose modes and times come last
}

type folder struct {
	name string
	h    *tar.Header
}

// maxFolders bounds what is noted of a stream.
const maxFolders = 1 << 20

func (x *extractor) name(of string) (string, error) {
	name := path.Clean(of)
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("the name leads out of the folder: %w", fs.ErrInvalid)
	}
	if x.o.Rename != nil {
		if name = x.o.Rename(name); name != "" && !filepath.IsLocal(name) {
			return "", fmt.Errorf("the name leads out of the folder: %w", fs.ErrInvalid)
		}
	}
	return name, nil
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	name, err := x.name(h.Name)
	if err != nil || name == "" {
		return err
	}
	if dir := path.Dir(name); dir != "." {
		if err := x.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	st, err := x.root.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil
	if h.Typeflag == tar.TypeDir {
		return x.folder(name, h, st)
	}
	if there && st.IsDir() {
		return fmt.Errorf("cannot overwrite directory with non-directory: %w", fs.ErrExist)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return x.regular(name, h, content, st)
	case tar.TypeSymlink:
		err = x.replace(name, there, func() error { return x.root.Symlink(h.Linkname, name) })
	case tar.TypeLink:
		target, e := x.name(h.Linkname)
		if e != nil {
			return e
		}
		return x.replace(name, there, func() error { return x.root.Link(target, name) })
	default:
		return fmt.Errorf("neither a file, a folder nor a link: %w", errors.ErrUnsupported)
	}
	if err == nil && x.o.Owners {
		err = x.root.Lchown(name, h.Uid, h.Gid)
	}
	return err
}

func (x *extractor) replace(name string, there bool, create func() error) error {
	if there {
		if err := x.remove(name); err != nil {
			return err
		}
	}
	return create()
}

// remove removes a file. To remove one that is mounted is EBUSY, in whatever mount namespace it is: the kernel says that of its caller's
// own only, and takes others' mounts away.
func (x *extractor) remove(name string) error {
	mounted, err := isMounted(x.root, name)
	if err == nil && mounted {
		err = &fs.PathError{Op: "remove", Path: name, Err: syscall.EBUSY}
	}
	if err != nil {
		return err
	}
	return x.root.Remove(name)
}

func (x *extractor) folder(name string, h *tar.Header, st fs.FileInfo) error {
	switch {
	case st == nil:
		if err := x.root.Mkdir(name, 0o700); err != nil {
			return err
		}
	case !st.IsDir():
		return fmt.Errorf("cannot overwrite non-directory with directory: %w", fs.ErrExist)
	}
	if len(x.folders) >= maxFolders {
		return fmt.Errorf("more than %d folders: %w", maxFolders, fs.ErrInvalid)
	}
	if name != "." {
		x.folders = append(x.folders, folder{name, h})
	}
	return nil
}

func (x *extractor) regular(name string, h *tar.Header, content io.Reader, st fs.FileInfo) (err error) {
	if st != nil {
		err = x.remove(name)
	}
	var f *os.File
	if errors.Is(err, syscall.EBUSY) { // it is mounted, as a container's /etc/hosts is
		if !st.Mode().IsRegular() { // a device of the host's, whose mode would change, too
			return fmt.Errorf("cannot overwrite a mounted file that is not regular: %w", err)
		}
		// What a container puts in its place meanwhile, a device node of the host's disk, say, is not opened.
		if f, err = x.files.openSame(name, st, os.O_WRONLY); err == nil {
			if err = f.Truncate(0); err != nil {
				_ = f.Close()
			}
		}
	} else if err == nil {
		f, err = x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	if x.o.Owners {
		if err := x.files.chown(f, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	mode := h.FileInfo().Mode()
	if x.o.NoSetID {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	if err := x.files.chmod(f, mode); err != nil {
		return err
	}
	return x.root.Chtimes(name, accessed(h), h.ModTime)
}

func accessed(h *tar.Header) time.Time {
	if h.AccessTime.IsZero() {
		return h.ModTime
	}
	return h.AccessTime
}

// finish gives folders their modes and times, the deepest first.
func (x *extractor) finish() error {
	for i := len(x.folders) - 1; i >= 0; i-- {
		f := x.folders[i]
		var err error
		if x.o.Owners {
			err = x.root.Lchown(f.name, f.h.Uid, f.h.Gid)
		}
		if err == nil {
			err = x.chmodFolder(f.name, f.h.FileInfo().Mode())
		}
		if err == nil {
			err = x.root.Chtimes(f.name, accessed(f.h), f.h.ModTime)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// chmodFolder goes by a descriptor: what is a link by now is followed inside the root only.
func (x *extractor) chmodFolder(name string, mode fs.FileMode) error {
	f, err := x.root.OpenFile(name, folderFlags, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.IsDir() {
		return changed(name, err)
	}
	return x.files.chmod(f, mode)
}
