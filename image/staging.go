package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/inflate"
)

// Bounds of an archive.
const (
	maxMembers     = 1 << 17
	maxMemberName  = 1 << 10
	maxNames       = 8 << 20 // bytes of all names and links' targets
	maxMemberLinks = 8
	maxArchive     = 128 << 30 // bytes of all members
	maxArchiveRate = 250       // bytes that one compressed byte may become, once there are more than rateFree
	rateFree       = 1 << 30
	sparseFree     = 16 << 20 // the same for what sparse members become
	stagingPrefix  = "load-"
)

// A staging is an archive taken apart: its members are files that are named by numbers, so that no name in it is ever one
// on disk, and what its links mean is worked out here. It is an fs.FS of the members.
type staging struct {
	dir   string
	lock  *durable.Lock
	files map[string]member
	links map[string]string // symbolic and hard, to clean names
	names int               // bytes of them all
}

// A member is a file of the archive.
type member struct {
	path   string
	digest digest.Digest // SHA-256
	size   int64
}

// stage reads an archive to its end.
func (s *Store) stage(ctx context.Context, r io.Reader, limit int64) (_ *staging, err error) {
	st := &staging{
		dir: s.path("tmp", stagingPrefix+rand.Text()), files: map[string]member{}, links: map[string]string{},
	}
	if st.lock, err = durable.Acquire(ctx, st.dir+lockSuffix, true); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.close())
		}
	}()
	if err := os.Mkdir(st.dir, 0o700); err != nil {
		return nil, err
	}
	in, done, err := decompress(&ctxReader{ctx, r})
	if err != nil {
		return nil, err
	}
	defer done()
	return st, st.read(in, limit)
}

func (st *staging) close() error { return errors.Join(os.RemoveAll(st.dir), st.lock.Remove()) }

// decompress returns the archive's tar stream.
func decompress(r io.Reader) (io.Reader, func(), error) {
	count := &counter{r: r}
	br := bufio.NewReaderSize(count, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	var z io.Reader
	done := func() {}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err = inflate.NewReader(br)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var d *zstd.Decoder
		if d, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20)); err == nil {
			z, done = d, d.Close
		}
	case bytes.HasPrefix(head, []byte("BZh")):
		z = bzip2.NewReader(br)
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		err = fmt.Errorf("archive compressed by xz: not implemented: %w", errors.ErrUnsupported)
	default:
		return br, done, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return &rated{r: z, in: count, free: rateFree}, done, nil
}

type counter struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// A rated reader fails when too much comes out of too little.
type rated struct {
	r         io.Reader
	in        *counter
	free, out int64
}

// Read implements io.Reader.
func (r *rated) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.out += int64(n); r.out > r.free && r.out/maxArchiveRate > r.in.n {
		return n, invalid("archive inflates by more than %d to 1", maxArchiveRate)
	}
	return n, err
}

func (st *staging) read(r io.Reader, limit int64) error {
	left, count := limit, &counter{r: r}
	t := tar.NewReader(count)
	content := &rated{r: t, in: count, free: sparseFree}
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: read archive: %w", ErrInvalid, err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := memberName(h.Name)
		if err != nil {
			return err
		}
		if len(st.files)+len(st.links) >= maxMembers {
			return invalid("archive of more than %d members", maxMembers)
		}
		if st.names += len(name) + len(h.Linkname); st.names > maxNames {
			return invalid("archive whose members' names are more than %d bytes", maxNames)
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeSymlink, tar.TypeLink:
			err = st.link(name, h)
		case tar.TypeReg, tar.TypeGNUSparse:
			if h.Size < 0 || h.Size > left {
				return invalid("archive of more than %d bytes", limit)
			}
			left -= h.Size
			err = st.file(name, content)
		default:
			err = invalid("archive member %q is of type %q", name, h.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

// memberName refuses names that lead out of the archive.
func memberName(name string) (string, error) {
	clean := path.Clean(name)
	if len(name) > maxMemberName || path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") ||
		strings.ContainsRune(name, 0) {
		return "", invalid("archive member %.100q: name leads out of the archive, or is too long", name)
	}
	return clean, nil
}

// link notes a link. Old docker save wrote one for a layer that two images have.
func (st *staging) link(name string, h *tar.Header) error {
	target := h.Linkname
	if h.Typeflag == tar.TypeSymlink {
		if path.IsAbs(target) {
			return invalid("archive member %q: link to %.100q", name, target)
		}
		target = path.Join(path.Dir(name), target)
	}
	target, err := memberName(target)
	if err != nil {
		return err
	}
	if old, ok := st.links[name]; ok && old != target {
		return invalid("archive member %q is there twice", name)
	}
	if _, ok := st.files[name]; ok {
		return invalid("archive member %q is there twice", name)
	}
	st.links[name] = target
	return nil
}

func (st *staging) file(name string, r io.Reader) (err error) {
	m := member{path: filepath.Join(st.dir, strconv.Itoa(len(st.files)))}
	f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := digest.Canonical.Digester()
	if m.size, err = io.Copy(io.MultiWriter(f, sum.Hash()), r); err != nil {
		return fmt.Errorf("archive member %q: %w", name, err)
	}
	m.digest = sum.Digest()
	if _, ok := st.links[name]; ok {
		return invalid("archive member %q is there twice", name)
	}
	// Two readers could take different ones of two; of equals there is nothing to choose.
	if old, ok := st.files[name]; ok {
		if old.digest != m.digest {
			return invalid("archive member %q is there twice", name)
		}
		return nil
	}
	st.files[name] = m
	return nil
}

// find returns the member of a name, through links.
func (st *staging) find(name string) (member, bool) {
	name = path.Clean(name)
	for range maxMemberLinks {
		if m, ok := st.files[name]; ok {
			return m, true
		}
		next, ok := st.links[name]
		if !ok {
			break
		}
		name = next
	}
	return member{}, false
}

func (st *staging) has(name string) bool {
	_, ok := st.find(name)
	return ok
}

// Open implements fs.FS.
func (st *staging) Open(name string) (fs.File, error) {
	m, ok := st.find(name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return os.Open(m.path)
}
