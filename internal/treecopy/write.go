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
	"slices"
	"strings"
)

// Write writes the file or folder that name names in root, with all below it, as a tar stream whose first entry is called
// as. Symbolic links are written as such. Sockets are left out. owner, which may be nil, changes the owners that are written.
func Write(ctx context.Context, w io.Writer, root Tree, name, as string, owner func(uid, gid int) (int, int)) error {
	t := &writer{ctx: ctx, root: root, files: changerOf(root), tar: tar.NewWriter(w), owner: owner}
	if err := t.entry(name, as); err != nil {
		return err
	}
	return t.tar.Close()
}

type writer struct {
	ctx   context.Context
	root  Tree
	files changer
	tar   *tar.Writer

	owner func(uid, gid int) (int, int)
}

func (t *writer) entry(name, as string) error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	st, err := t.root.Lstat(name)
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	link := ""
	if st.Mode()&fs.ModeSymlink != 0 {
		if link, err = t.root.Readlink(name); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(st, link)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	h.Name, h.Uname, h.Gname, h.Format = as, "", "", tar.FormatPAX
	if t.owner != nil {
		h.Uid, h.Gid = t.owner(h.Uid, h.Gid)
	}
	switch {
	case st.IsDir():
		h.Name = strings.TrimSuffix(as, "/") + "/"
		if err := t.tar.WriteHeader(h); err != nil {
			return err
		}
		return t.folder(name, as)
	case st.Mode().IsRegular():
		return t.regular(name, h, st)
	}
	return t.tar.WriteHeader(h)
}

func (t *writer) folder(name, as string) error {
	// A pipe or a device may have taken its place: it is not waited for.
	f, err := t.root.OpenFile(name, folderFlags, 0)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		err := t.entry(path.Join(name, n), path.Join(as, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was deleted meanwhile
			return err
		}
	}
	return nil
}

func (t *writer) regular(name string, h *tar.Header, st fs.FileInfo) error {
	f, err := t.files.openSame(name, st, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = now.Size()
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(t.tar, io.LimitReader(&reader{t.ctx, f}, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("%s gets shorter while it is read: %w", name, io.ErrUnexpectedEOF)
	}
	return err
}

// A reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

func changed(name string, err error) error {
	return errors.Join(fmt.Errorf("%s changes while it is copied: %w", name, fs.ErrInvalid), err)
}
