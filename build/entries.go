package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// An entry is a file or folder that is copied.
type entry struct {
	name    string // below the destination; "" for the one file that the destination is, or is in
	src     *source
	at      string // in src
	content []byte // in place of src
	header  tar.Header
}

// An owner is whom --chown names; nil is nobody.
type owner struct{ uid, gid int }

// A collector lists what is copied.
type collector struct {
	src   *source
	limit int64
	list  []*entry
	inode map[inode]string // of files with several names, the first
}

// add lists a file, or what is in a folder, whose name is without links; as is its name at the destination.
func (c *collector) add(at, as string, st fs.FileInfo) error {
	if !st.IsDir() {
		return c.entry(at, as, st)
	}
	f, err := c.src.root.Open(at)
	if err != nil {
		return err
	}
	list, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range list {
		name := path.Join(at, e.Name())
		out, err := c.src.ignored(name)
		if err != nil {
			return err
		}
		if out && (!e.IsDir() || !c.src.ignore.Exclusions()) {
			continue
		}
		st, err := c.src.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		to := path.Join(as, e.Name())
		if !out {
			if err := c.entry(name, to, st); err != nil {
				return err
			}
		}
		if st.IsDir() {
			if err := c.add(name, to, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry lists one file or folder.
func (c *collector) entry(at, as string, st fs.FileInfo) error {
	switch kind := st.Mode().Type(); {
	case kind == fs.ModeSocket:
		return nil
	case kind&(fs.ModeDevice|fs.ModeNamedPipe) != 0 && !c.src.tree:
		return fmt.Errorf("%s is neither a file, a folder nor a link: %w", at, errors.ErrUnsupported)
	}
	if int64(len(c.list)) >= c.limit {
		return fmt.Errorf("more than %d names: %w", c.limit, errTooLarge)
	}
	link := ""
	if st.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = c.src.root.Readlink(at); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(bare{st}, link)
	if err != nil {
		return err
	}
	e := &entry{name: as, src: c.src, at: at, header: tar.Header{
		Typeflag: h.Typeflag, Size: h.Size, Mode: h.Mode & 0o7777, ModTime: h.ModTime, Linkname: link, Devmajor: h.Devmajor, Devminor: h.Devminor,
	}}
	if c.src.tree {
		e.header.Uid, e.header.Gid = h.Uid, h.Gid
		if st.Mode().IsRegular() {
			if caps := c.src.capabilities(at); caps != "" {
				e.header.PAXRecords = map[string]string{capabilityRecord: caps}
			}
		}
		if id, several := inodeOf(st); several && st.Mode().IsRegular() {
			if first, seen := c.inode[id]; seen {
				e.header.Typeflag, e.header.Linkname, e.header.Size, e.header.PAXRecords = tar.TypeLink, first, 0, nil
			} else {
				if c.inode == nil {
					c.inode = map[inode]string{}
				}
				c.inode[id] = as
			}
		}
	}
	c.list = append(c.list, e)
	return nil
}

// bare is a FileInfo of which FileInfoHeader looks up no names of users.
type bare struct{ fs.FileInfo }

func (bare) Uname() (string, error) { return "", nil }
func (bare) Gname() (string, error) { return "", nil }

const capabilityRecord = "SCHILY.xattr.security.capability"

type inode struct{ dev, ino uint64 }

// open opens an entry's content.
func (e *entry) open() (io.ReadCloser, error) {
	if e.src == nil {
		return io.NopCloser(strings.NewReader(string(e.content))), nil
	}
	f, st, err := e.src.openFile(e.at)
	if err != nil {
		return nil, err
	}
	if st.Size() != e.header.Size {
		return nil, errors.Join(fmt.Errorf("%s has changed meanwhile", e.at), f.Close())
	}
	return &contents{reader{e.src.ctx, f}, f}, nil
}

// Contents are a file's, until ctx ends.
type contents struct {
	reader
	io.Closer
}

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// sum is a digest of what is copied: all but times.
func sum(list []*entry) (string, error) {
	h := sha256.New()
	for _, e := range list {
		t := &e.header
		fmt.Fprintf(h, "%d:%s %c %o %d:%d %d:%d %d:%s %d %d:%s\n", len(e.name), e.name, t.Typeflag, t.Mode, t.Uid, t.Gid, t.Devmajor, t.Devminor,
			len(t.Linkname), t.Linkname, t.Size, len(t.PAXRecords[capabilityRecord]), t.PAXRecords[capabilityRecord])
		if t.Typeflag != tar.TypeReg {
			continue
		}
		f, err := e.open()
		if err != nil {
			return "", err
		}
		n, err := io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err == nil && n != t.Size {
			err = fmt.Errorf("%s has changed meanwhile", e.at)
		}
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// maxFound bounds the paths that a pattern is compared with, in bytes.
const maxFound = 1 << 28

// find returns where the files of a pattern are, in order. It looks at four times limit names at most: links may lead to them often.
func (s *source) find(pattern string, limit int64) ([]string, error) {
	if len(pattern) > maxName {
		return nil, errNameTooLong
	}
	parts := strings.Split(local(pattern), "/")
	found, looked, size := []string{"."}, int64(0), 0
	for _, part := range parts {
		if !strings.ContainsAny(part, `*?[\`) {
			for i := range found {
				found[i] = path.Join(found[i], part)
			}
			continue
		}
		if _, err := path.Match(part, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		var next []string
		for _, dir := range found {
			real, st, err := s.resolve(dir)
			if err != nil || !st.IsDir() {
				continue
			}
			if looked++; s.ctx.Err() != nil {
				return nil, context.Cause(s.ctx)
			}
			f, err := s.root.Open(real)
			if err != nil {
				return nil, err
			}
			names, err := f.Readdirnames(-1)
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, err
			}
			looked += int64(len(names))
			if size += len(names) * (len(dir) + 16); looked > 4*limit || size > maxFound {
				return nil, fmt.Errorf("pattern %q: more than %d names, or %d bytes of them, to look at: %w", pattern, 4*limit, maxFound, errTooLarge)
			}
			slices.Sort(names)
			for _, name := range names {
				if ok, _ := path.Match(part, name); ok {
					next = append(next, path.Join(dir, name))
				}
			}
		}
		found = next
	}
	return found, nil
}
