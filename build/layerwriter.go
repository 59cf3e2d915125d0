package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// A layerWriter writes a layer onto what an image shows. Names that are given to it are resolved in what image and layer show together, so
// that a link of the image's leads where it does for the image's programs, and not out.
type layerWriter struct {
	lower *source // nil for scratch
	tar   *tar.Writer
	made  map[string]made // what the layer has, by path
	epoch time.Time       // no file is newer, unless it is zero
	owner owner           // of folders that are made for what is below them
}

type made struct {
	mode fs.FileMode
	link string
}

// look says what is at a path all of whose folders are folders.
func (w *layerWriter) look(name string) (fs.FileMode, string, error) {
	if m, ok := w.made[name]; ok {
		return m.mode, m.link, nil
	}
	if w.lower == nil {
		return 0, "", fs.ErrNotExist
	}
	return w.lower.look(name)
}

// folder returns the path, without links, of a folder, which it makes with those above it where they are missing.
func (w *layerWriter) folder(name string) (string, error) {
	real, mode, err := follow(name, w.look)
	if err == nil && !mode.IsDir() {
		return "", fmt.Errorf("%s is not a folder: %w", name, fs.ErrExist)
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	parent, err := w.folder(path.Dir(real))
	if err != nil {
		return "", err
	}
	real = path.Join(parent, path.Base(real))
	return real, w.header(real, &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, Uid: w.owner.uid, Gid: w.owner.gid, ModTime: w.now()}, nil)
}

func (w *layerWriter) now() time.Time {
	if !w.epoch.IsZero() {
		return w.epoch
	}
	return time.Now()
}

// put writes an entry below dir, which is a path without links.
func (w *layerWriter) put(dir string, name string, h *tar.Header, content io.Reader) error {
	name = path.Clean("/" + name)
	parent, err := w.folder(path.Join(dir, path.Dir(name)))
	if err != nil {
		return err
	}
	real := path.Join(parent, path.Base(name))
	mode, _, err := w.look(real)
	there := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case h.Typeflag == tar.TypeDir && there && mode&fs.ModeSymlink != 0: // what it leads to is the folder
		_, err := w.folder(real)
		return err
	case h.Typeflag == tar.TypeDir && there && !mode.IsDir():
		return fmt.Errorf("cannot copy a folder to %s, which is none: %w", real, fs.ErrExist)
	case h.Typeflag != tar.TypeDir && there && mode.IsDir():
		return fmt.Errorf("cannot copy to %s, which is a folder: %w", real, fs.ErrExist)
	}
	if h.Typeflag == tar.TypeLink {
		target, err := w.target(dir, h.Linkname)
		if err != nil {
			return err
		}
		h.Linkname = target
	}
	return w.header(real, h, content)
}

// target is what a hard link of a stream that is put below dir links to: something that the layer has.
func (w *layerWriter) target(dir, name string) (string, error) {
	name = path.Clean("/" + name)
	parent, _, err := follow(path.Join(dir, path.Dir(name)), w.look)
	real := path.Join(parent, path.Base(name))
	if m, ok := w.made[real]; err != nil || !ok || m.mode.IsDir() {
		return "", fmt.Errorf("a hard link to %s, which is not among what is copied: %w", name, fs.ErrInvalid)
	}
	return strings.TrimPrefix(real, "/"), nil
}

// header writes an entry at a path without links.
func (w *layerWriter) header(real string, h *tar.Header, content io.Reader) error {
	base := path.Base(real)
	if strings.HasPrefix(base, ".wh.") {
		return fmt.Errorf("%s: a layer cannot hold a file of such a name: %w", real, fs.ErrInvalid)
	}
	if real == "/" {
		return nil
	}
	h.Name = strings.TrimPrefix(real, "/")
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if !w.epoch.IsZero() && h.ModTime.After(w.epoch) {
		h.ModTime = w.epoch
	}
	h.AccessTime, h.ChangeTime, h.Uname, h.Gname, h.Format = time.Time{}, time.Time{}, "", "", tar.FormatPAX
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	m := made{link: h.Linkname}
	switch h.Typeflag {
	case tar.TypeDir:
		m.mode = fs.ModeDir
	case tar.TypeSymlink:
		m.mode = fs.ModeSymlink
	default:
		m.link = ""
	}
	w.made[real] = m
	if content != nil && h.Typeflag == tar.TypeReg {
		n, err := io.Copy(w.tar, content)
		if err == nil && n != h.Size {
			err = fmt.Errorf("%s has changed meanwhile", real)
		}
		return err
	}
	return nil
}

// layer makes an image by a layer that f writes onto the stage's.
func (b *builder) layer(s *state, key, createdBy string, f func(*layerWriter) error) error {
	lower, err := b.lower(s)
	if err != nil {
		return err
	}
	if lower != nil {
		defer lower.close()
	}
	return b.commit(s, key, createdBy, func(out io.Writer) error {
		w := &layerWriter{lower: lower, tar: tar.NewWriter(out), made: map[string]made{}, epoch: b.epoch}
		if err := f(w); err != nil {
			return err
		}
		return w.tar.Close()
	})
}

// lower is what a stage shows, or nil.
func (b *builder) lower(s *state) (*source, error) {
	if s.img == nil || len(s.img.Layers) == 0 {
		return nil, nil
	}
	return b.tree(s.img)
}

// isFolder says whether a path of a stage leads to a folder.
func (b *builder) isFolder(s *state, name string) (is bool, err error) {
	lower, err := b.lower(s)
	if err != nil {
		return false, err
	}
	if lower == nil {
		return path.Clean(name) == "/", nil
	}
	defer func() { err = errors.Join(err, lower.close()) }()
	_, mode, err := follow(name, lower.look)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return mode.IsDir(), err
}
