package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// A copying is a COPY or an ADD.
type copying struct {
	b        *builder
	s        *state
	x        *instruction
	dest     string // absolute
	asFolder bool   // dest ends in a slash
	chown    string
	chmod    int64 // -1 for none
	checksum string
	names    int64 // that may still be copied
	src      *source
	parts    []*part
	keys     []string
}

// A part is what one of the sources gives.
type part struct {
	entries []*entry
	folder  bool     // they are what is in a folder
	archive *archive // in place of entries
	sum     string
}

// copy does a COPY or an ADD.
func (b *builder) copy(s *state, x *instruction) (err error) {
	c := &copying{b: b, s: s, x: x, src: b.source, chmod: -1, names: b.maxNames()}
	sources, err := c.arguments()
	if err != nil {
		return err
	}
	if from := flagOf(x, "from"); from != "" {
		if c.src, err = b.fromSource(s, from); err != nil {
			return fmt.Errorf("--from=%s: %w", from, err)
		}
		defer func() { err = errors.Join(err, c.src.close()) }()
	}
	if err := c.collect(sources); err != nil {
		return err
	}
	c.keys = append(c.keys, s.key, x.name, c.chown, strconv.FormatInt(c.chmod, 8), c.dest, strconv.FormatBool(c.asFolder))
	kind := "file"
	for _, p := range c.parts {
		c.keys = append(c.keys, strconv.FormatBool(p.folder), strconv.FormatBool(p.archive != nil), p.sum)
		if p.folder {
			kind = "dir"
		}
	}
	shown := c.parts[0].sum
	if len(c.parts) > 1 {
		kind, shown = "multi", hash(c.keys[6:]...)
	}
	dest := c.dest
	if c.asFolder && dest != "/" {
		dest += "/"
	}
	createdBy := fmt.Sprintf("/bin/sh -c #(nop) %s %s:%s in %s ", x.name, kind, shown, dest)
	key := hash(c.keys...)
	if hit, err := b.cached(s, key); err != nil || hit {
		return err
	}
	return b.layer(s, key, createdBy, c.write)
}

func flagOf(x *instruction, name string) string {
	for _, f := range x.flags {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// arguments reads the flags, the sources and the destination.
func (c *copying) arguments() (sources []string, err error) {
	esc, v := c.b.plan.escape, c.s.env()
	if c.chown, err = expand(flagOf(c.x, "chown"), esc, v); err != nil {
		return nil, err
	}
	if c.checksum, err = expand(flagOf(c.x, "checksum"), esc, v); err != nil {
		return nil, err
	}
	mode, err := expand(flagOf(c.x, "chmod"), esc, v)
	if err != nil {
		return nil, err
	}
	if mode != "" {
		n, err := strconv.ParseUint(mode, 8, 32)
		if err != nil || n > 0o7777 {
			return nil, fmt.Errorf("--chmod=%.20s: only octal numbers up to 7777 are implemented: %w", mode, errors.ErrUnsupported)
		}
		c.chmod = int64(n)
	}
	list := c.x.list
	if !c.x.isList {
		list = quotedWords(c.x.rest, esc)
	}
	if len(list) < 2 {
		return nil, bad("%s requires at least two arguments, but only one was provided. Destination could not be determined", c.x.name)
	}
	for _, w := range list {
		if newHeredoc(w) == nil {
			if w, err = expand(w, esc, v); err != nil {
				return nil, err
			}
		}
		sources = append(sources, w)
	}
	dest := sources[len(sources)-1]
	sources = sources[:len(sources)-1]
	if dest == "" {
		return nil, bad("%s: the destination is empty", c.x.name)
	}
	c.asFolder = strings.HasSuffix(dest, "/") || dest == "." || strings.HasSuffix(dest, "/.")
	if !path.IsAbs(dest) {
		dest = path.Join("/", c.s.config.WorkingDir, dest)
	}
	c.dest = path.Clean(dest)
	return sources, nil
}

// fromSource opens what --from names.
func (b *builder) fromSource(s *state, name string) (*source, error) {
	img, err := b.fromImage(s, name)
	if err != nil {
		return nil, err
	}
	return b.tree(img)
}

// collect finds what is copied.
func (c *copying) collect(sources []string) error {
	several := len(sources) > 1
	for _, name := range sources {
		parts, err := c.source(name)
		if err != nil {
			return err
		}
		c.parts = append(c.parts, parts...)
	}
	switch {
	case len(c.parts) == 0:
		return fmt.Errorf("%s failed: no source files were specified", c.x.name)
	case (several || len(c.parts) > 1) && !c.asFolder:
		return bad("when using %s with more than one source file, the destination must be a directory and end with a /", c.x.name)
	}
	return nil
}

// source finds what one of the sources gives.
func (c *copying) source(name string) ([]*part, error) {
	if h := newHeredoc(name); h != nil {
		for _, doc := range c.x.heredocs {
			if doc.name == h.name {
				p, err := c.document(&doc)
				return []*part{p}, err
			}
		}
	}
	if c.x.name == "ADD" && isAddress(name) {
		p, err := c.download(name)
		return []*part{p}, err
	}
	if c.checksum != "" {
		return nil, bad("--checksum can't be specified for a local source: %.100s", name)
	}
	if clean := path.Clean(name); !c.src.tree && (clean == ".." || strings.HasPrefix(clean, "../")) {
		return nil, fmt.Errorf("forbidden path outside the build context: %s", name)
	}
	found, err := c.src.find(name, c.b.maxNames())
	if err != nil {
		return nil, err
	}
	var parts []*part
	for _, at := range found {
		p, err := c.local(name, at)
		if err != nil {
			return nil, err
		}
		if p != nil {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// local is a file or folder of the source.
func (c *copying) local(pattern, at string) (*part, error) {
	missing := fmt.Errorf("%s failed: file not found in build context or excluded by .dockerignore: stat %s: %w", c.x.name, pattern, fs.ErrNotExist)
	real, st, err := c.src.resolve(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	out, err := c.src.ignored(real)
	if err == nil && !out && real != local(at) {
		out, err = c.src.ignored(local(at))
	}
	if err != nil {
		return nil, err
	}
	if out && (!st.IsDir() || !c.src.ignore.Exclusions()) {
		if strings.ContainsAny(pattern, "*?[") {
			return nil, nil
		}
		return nil, missing
	}
	p := &part{folder: st.IsDir()}
	if c.x.name == "ADD" && st.Mode().IsRegular() {
		if p.archive, err = c.archive(real); err != nil {
			return nil, err
		}
		if p.archive != nil {
			p.sum = p.archive.sum
			return p, nil
		}
	}
	l := &collector{src: c.src, limit: c.names}
	name := ""
	if !p.folder {
		name = path.Base(local(at))
	}
	if err := l.add(real, name, st); err != nil {
		return nil, err
	}
	p.entries = l.list
	c.names -= int64(len(l.list))
	p.sum, err = sum(p.entries)
	return p, err
}

// document is a here-document as a file.
func (c *copying) document(h *heredoc) (*part, error) {
	text := h.content
	if h.expand {
		var err error
		if text, err = expandText(text, c.s.env()); err != nil {
			return nil, err
		}
	}
	return newPart(h.name, []byte(text), 0o644, c.b)
}

func newPart(name string, content []byte, mode int64, b *builder) (*part, error) {
	e := &entry{name: name, content: content, header: tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content)), ModTime: b.now()}}
	p := &part{entries: []*entry{e}}
	var err error
	p.sum, err = sum(p.entries)
	return p, err
}

// write writes the layer.
func (c *copying) write(w *layerWriter) error {
	who, err := c.owner(w)
	if err != nil {
		return err
	}
	single := len(c.parts) == 1 && !c.parts[0].folder && c.parts[0].archive == nil && !c.asFolder
	dir := c.dest
	if single {
		real, mode, err := follow(c.dest, w.look)
		switch {
		case err == nil && mode.IsDir():
		case err == nil || errors.Is(err, fs.ErrNotExist): // the destination is the file
			c.parts[0].entries[0].name = path.Base(real)
			dir = path.Dir(real)
		default:
			return err
		}
	}
	if who != nil {
		w.owner = *who
	}
	if dir, err = w.folder(dir); err != nil {
		return err
	}
	for _, p := range c.parts {
		if p.archive != nil {
			if err := p.archive.write(w, dir, who); err != nil {
				return err
			}
			continue
		}
		for _, e := range p.entries {
			if err := c.entry(w, dir, e, who); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *copying) entry(w *layerWriter, dir string, e *entry, who *owner) (err error) {
	h := e.header
	if who != nil {
		h.Uid, h.Gid = who.uid, who.gid
	}
	if c.chmod >= 0 && h.Typeflag != tar.TypeSymlink {
		h.Mode = c.chmod
	}
	var content io.ReadCloser
	if h.Typeflag == tar.TypeReg {
		if content, err = e.open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, content.Close()) }()
	}
	return w.put(dir, e.name, &h, content)
}

// owner looks up whom --chown names, in the stage.
func (c *copying) owner(w *layerWriter) (*owner, error) {
	if c.chown == "" {
		return nil, nil
	}
	user, group, both := strings.Cut(c.chown, ":")
	uid, uerr := strconv.ParseUint(user, 10, 31)
	gid, gerr := strconv.ParseUint(group, 10, 31)
	if uerr == nil && !both {
		return &owner{int(uid), int(uid)}, nil
	}
	if uerr == nil && gerr == nil {
		return &owner{int(uid), int(gid)}, nil
	}
	if w.lower == nil {
		return nil, fmt.Errorf("--chown=%s: there are no names in the stage, which is built FROM scratch: %w", c.chown, fs.ErrNotExist)
	}
	u, err := namespace.Dir(w.lower.root.Name()).LookupUser(c.chown)
	if err != nil {
		return nil, fmt.Errorf("--chown=%s: %w", c.chown, err)
	}
	return &owner{int(u.UID), int(u.GID)}, nil
}
