package build

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/treecopy"
	"github.com/caisson-engine/caisson/layer"
)

// A Context is the files that COPY and ADD take from.
type Context struct {
	dir    string
	stream io.Reader
	files  fs.FS
}

// Dir is the context of a folder of the host. Build reads it beneath the folder: links in it that lead out are followed as if the folder were
// the root. Who may write to it decides what is built.
func Dir(path string) *Context { return &Context{dir: path} }

// Tar is the context of a tar stream, plain or compressed by gzip, bzip2 or zstd, which is taken as hostile. It is read to its end
// before anything is built.
func Tar(r io.Reader) *Context { return &Context{stream: r} }

// FS is the context of a file system, such as an embed.FS or a map in memory, of which Build makes a copy first. Names, content, permission bits
// and times are taken from it, which differ from what one has in a folder: an embed.FS has files of mode 0444 and no times, and in a
// fstest.MapFS a file that says no mode can be read by nobody but root. COPY --chmod changes that.
func FS(files fs.FS) *Context { return &Context{files: files} }

// tarred returns a tar stream of the files. The caller closes it.
func tarred(files fs.FS) *io.PipeReader {
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		err := tw.AddFS(files)
		if err == nil {
			err = tw.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}

// Bounds, where the options say none.
const (
	defaultMaxContext  = 16 << 30
	defaultMaxNames    = 1 << 20
	defaultMaxDownload = 4 << 30
	maxIgnore          = 1 << 20 // bytes of a .dockerignore
	maxFollowed        = 40      // links on one path, as for the kernel
)

// A source is a tree that is copied from: the context, a stage or an image. Nothing that is done with it leads out of its root.
type source struct {
	ctx    context.Context // ends what takes long
	root   *os.Root
	ignore *patternmatcher.PatternMatcher // nil: nothing is left out
	tree   bool                           // of an image: owners, devices and file capabilities are kept
	close  func() error
}

// open opens the context.
func (b *builder) open(c *Context) error {
	dir := filepath.Join(b.scratch, "context")
	if c != nil && c.files != nil {
		stream := tarred(c.files)
		defer stream.Close()
		c = Tar(stream)
	}
	if c != nil && c.stream == nil {
		dir = c.dir
	} else if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the build context: %w", err)
	}
	b.held = append(b.held, root.Close)
	b.source = &source{ctx: b.ctx, root: root}
	if c != nil && c.stream != nil {
		if err := b.receive(root, c.stream); err != nil {
			return fmt.Errorf("read the build context: %w", err)
		}
	}
	return b.readIgnore()
}

// receive writes the context's stream to its folder.
func (b *builder) receive(root *os.Root, stream io.Reader) error {
	r, end, err := decompressed(stream)
	if err != nil {
		return err
	}
	defer end()
	size, names := cmp.Or(b.o.MaxContext, defaultMaxContext), b.maxNames()
	err = treecopy.Extract(b.ctx, root, r, &treecopy.Options{Check: func(h *tar.Header) error {
		if len(h.Name) > maxName {
			return errNameTooLong
		}
		if names--; names < 0 {
			return fmt.Errorf("more than %d names: %w", b.maxNames(), errTooLarge)
		}
		if size -= h.Size; h.Size < 0 || size < 0 {
			return fmt.Errorf("more than %d bytes: %w", cmp.Or(b.o.MaxContext, defaultMaxContext), errTooLarge)
		}
		return nil
	}})
	if err == nil {
		_, _ = io.CopyN(io.Discard, stream, maxPadding) // who sends it is not to be left with the rest
	}
	return err
}

// maxPadding is how much may follow a context's end, in bytes.
const maxPadding = 1 << 20

// maxName bounds a name in an archive, in bytes, as the kernel bounds a path.
const maxName = 4096

var errNameTooLong = fmt.Errorf("a name of more than %d bytes: %w", maxName, fs.ErrInvalid)

var errTooLarge = errors.New("it is too large")

func (b *builder) maxNames() int64 { return cmp.Or(b.o.MaxNames, defaultMaxNames) }

// readIgnore reads .dockerignore, or the one of the Dockerfile.
func (b *builder) readIgnore() error {
	for _, name := range []string{b.o.file() + ".dockerignore", ".dockerignore"} {
		text, err := b.source.readFile(name, maxIgnore)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		list, err := ignorefile.ReadAll(bytes.NewReader(text))
		if err == nil {
			b.source.ignore, err = patternmatcher.New(list)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return nil
}

// dockerfile reads the Dockerfile.
func (b *builder) dockerfile() ([]byte, error) {
	if b.o.Content != nil {
		return b.o.Content, nil
	}
	if !filepath.IsLocal(path.Clean(b.o.file())) {
		return nil, fmt.Errorf("the Dockerfile (%s) must be within the build context", b.o.file())
	}
	text, err := b.source.readFile(b.o.file(), maxDockerfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot locate Dockerfile: %s: %w", b.o.file(), err)
	}
	return text, err
}

// tree opens an image's file system.
func (b *builder) tree(img *image.Image) (*source, error) {
	root, err := layer.Mount(b.ctx, img.Layers, &layer.MountOptions{ReadOnly: true, Copy: layer.CopyFallback})
	if err != nil {
		return nil, err
	}
	folder, err := root.OpenFolder("/")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	r, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()))
	if err != nil {
		return nil, errors.Join(err, folder.Close(), root.Close())
	}
	return &source{ctx: b.ctx, root: r, tree: true, close: func() error { return errors.Join(r.Close(), folder.Close(), root.Close()) }}, nil
}

// look says what is at a path all of whose folders are none but folders.
func (s *source) look(name string) (fs.FileMode, string, error) {
	st, err := s.root.Lstat(local(name))
	if err != nil {
		return 0, "", err
	}
	if st.Mode()&fs.ModeSymlink == 0 {
		return st.Mode(), "", nil
	}
	link, err := s.root.Readlink(local(name))
	return st.Mode(), link, err
}

// local is a path below a root as os.Root takes it.
func local(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// follow finds where a path leads when the tree that look shows is the root: no link leads out of it. Of a path that is not there it
// returns how it would be called, which has no link among what is there, and fs.ErrNotExist.
func follow(name string, look func(string) (fs.FileMode, string, error)) (string, fs.FileMode, error) {
	real, mode, links := "/", fs.ModeDir, 0
	for rest := strings.Split(path.Clean("/"+name), "/"); len(rest) > 0; {
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			gone := mode == missing
			if real, mode = path.Dir(real), fs.ModeDir; gone && real != "/" {
				if m, _, err := look(real); err == nil {
					mode = m
				} else {
					mode = missing
				}
			}
			continue
		}
		m, link, err := look(path.Join(real, next))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			real, mode = path.Join(real, next), missing
			continue
		}
		if err != nil {
			return "", 0, err
		}
		if m&fs.ModeSymlink == 0 {
			real, mode = path.Join(real, next), m
			continue
		}
		if links++; links > maxFollowed {
			return "", 0, &fs.PathError{Op: "stat", Path: name, Err: syscall.ELOOP}
		}
		if path.IsAbs(link) {
			real, mode = "/", fs.ModeDir
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	if mode == missing {
		return real, 0, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return real, mode, nil
}

// missing is the mode of what is not there.
const missing = fs.ModeIrregular

// resolve finds where a path of the source leads.
func (s *source) resolve(name string) (string, fs.FileInfo, error) {
	real, _, err := follow(name, s.look)
	if err != nil {
		return "", nil, err
	}
	st, err := s.root.Lstat(local(real))
	return local(real), st, err
}

// openFile opens a regular file for reading, whatever takes its place meanwhile.
func (s *source) openFile(name string) (*os.File, fs.FileInfo, error) {
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no regular file")}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}

func (s *source) readFile(name string, limit int64) ([]byte, error) {
	real, _, err := s.resolve(name)
	if err != nil {
		return nil, err
	}
	f, _, err := s.openFile(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s: more than %d bytes: %w", name, limit, errTooLarge)
	}
	return text, err
}

// ignored says whether .dockerignore leaves a path out.
func (s *source) ignored(name string) (bool, error) {
	if s.ctx.Err() != nil {
		return false, context.Cause(s.ctx)
	}
	if s.ignore == nil || name == "." {
		return false, nil
	}
	return s.ignore.MatchesOrParentMatches(filepath.FromSlash(name))
}
