package build

import (
	"archive/tar"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/treecopy"
	"github.com/caisson-engine/caisson/volume"
)

// maxSecret bounds a secret, in bytes.
const maxSecret = 500 << 10

// A runMount is one of RUN --mount.
type runMount struct {
	typ, id, from, source, target, sharing, size string
	mode                                         uint64
	hasMode                                      bool
	uid, gid                                     int
	required                                     bool
	text                                         string
}

// parseRunMount reads "type=cache,target=/x".
func parseRunMount(text string) (*runMount, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return nil, bad("--mount=%.100s: %v", text, err)
	}
	m := &runMount{typ: "bind", text: text}
	for _, f := range fields {
		key, value, set := strings.Cut(f, "=")
		on := !set || value == "true" || value == "1"
		var err error
		switch strings.ToLower(key) {
		case "type":
			m.typ = strings.ToLower(value)
		case "id":
			m.id = value
		case "from":
			m.from = value
		case "source", "src":
			m.source = value
		case "target", "dst", "destination":
			m.target = value
		case "sharing":
			m.sharing = strings.ToLower(value)
		case "size":
			if m.size = value; !tmpfsSize.MatchString(value) {
				err = bad("'%.40s' is no size", value)
			}
		case "required":
			m.required = on
		case "mode":
			m.mode, err = strconv.ParseUint(value, 8, 12)
			m.hasMode = true
		case "uid":
			m.uid, err = id(value)
		case "gid":
			m.gid, err = id(value)
		case "ro", "readonly":
			if !on {
				err = errWritable
			}
		case "rw", "readwrite":
			if on && m.typ != "cache" {
				err = errWritable
			}
		default:
			err = bad("unexpected key '%.40s' in '%.100s'", key, f)
		}
		if err != nil {
			return nil, fmt.Errorf("--mount=%.100s: %s: %w", text, key, err)
		}
	}
	switch {
	case m.typ == "ssh":
		err = fmt.Errorf("mounts of type ssh are not implemented: %w", errors.ErrUnsupported)
	case m.typ != "bind" && m.typ != "cache" && m.typ != "tmpfs" && m.typ != "secret":
		err = bad("unsupported mount type %.40q", m.typ)
	case m.typ == "cache" && (m.from != "" || m.source != ""):
		err = fmt.Errorf("caches that begin with a copy of something (from, source) are not implemented: %w", errors.ErrUnsupported)
	case m.typ == "cache" && m.sharing == "private":
		err = fmt.Errorf("sharing=private is not implemented: %w", errors.ErrUnsupported)
	case m.sharing != "" && m.sharing != "shared" && m.sharing != "locked" && m.sharing != "private":
		err = bad("unsupported sharing value %.40q", m.sharing)
	case m.typ == "secret" && m.id == "" && m.target == "":
		err = bad("neither id nor target of the secret is given")
	case m.target == "" && m.typ != "secret":
		err = bad("the target is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("--mount=%.100s: %w", text, err)
	}
	return m, nil
}

var errWritable = fmt.Errorf("binds that can be written to are not implemented: %w", errors.ErrUnsupported)

var tmpfsSize = regexp.MustCompile(`^[0-9]+[kKmMgG]?[bB]?$`)

func id(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

// expandMount reads a mount with variables.
func (b *builder) expandMount(s *state, text string) (*runMount, error) {
	text, err := expand(text, b.plan.escape, s.env())
	if err != nil {
		return nil, err
	}
	m, err := parseRunMount(text)
	if err != nil {
		return nil, err
	}
	if m.typ == "secret" {
		if m.id == "" {
			m.id = path.Base(m.target)
		}
		if m.target == "" {
			m.target = "/run/secrets/" + m.id
		}
		if !m.hasMode {
			m.mode = 0o400
		}
	}
	if m.typ == "cache" {
		if m.id == "" {
			m.id = m.target
		}
		if !m.hasMode {
			m.mode = 0o755
		}
	}
	if !path.IsAbs(m.target) {
		m.target = path.Join("/", s.config.WorkingDir, m.target)
	}
	if m.target = path.Clean(m.target); m.target == "/" { // the root itself would be covered
		return nil, bad("--mount=%.100s: invalid mount target %q", text, m.target)
	}
	return m, nil
}

// mountKey is what of a mount belongs to the step's key: of a bind what it shows, too.
func (b *builder) mountKey(s *state, m *runMount) (string, error) {
	switch {
	case m.typ != "bind":
		return m.text, nil
	case m.from != "":
		img, err := b.fromImage(s, m.from)
		if err != nil {
			return "", fmt.Errorf("--mount=%.100s: %w", m.text, err)
		}
		return m.text + " " + img.ID.String(), nil
	}
	list, _, err := b.bound(m)
	if err != nil {
		return "", err
	}
	sum, err := sum(list)
	return m.text + " " + sum, err
}

// bound lists what a bind of the context shows.
func (b *builder) bound(m *runMount) ([]*entry, fs.FileInfo, error) {
	real, st, err := b.source.resolve(m.source)
	if err == nil {
		var out bool
		if out, err = b.source.ignored(real); out && !st.IsDir() {
			err = fmt.Errorf("%s: it is excluded by .dockerignore: %w", m.source, fs.ErrNotExist)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("--mount=%.100s: %w", m.text, err)
	}
	c := &collector{src: b.source, limit: b.maxNames()}
	name := ""
	if !st.IsDir() {
		name = "file"
	}
	err = c.add(real, name, st)
	return c.list, st, err
}

// fromImage returns the image of a stage or of a name.
func (b *builder) fromImage(s *state, name string) (*image.Image, error) {
	if of := b.plan.find(name, s.of.number); of != nil {
		st, err := b.stage(of)
		if err != nil {
			return nil, err
		}
		if st.img == nil {
			return nil, fmt.Errorf("stage %s is empty: %w", of, fs.ErrNotExist)
		}
		return st.img, nil
	}
	return b.image(name, b.platform(s.of))
}

// mount makes ready what a RUN mounts. release undoes that after the command's end.
func (b *builder) mount(s *state, m *runMount) (_ *engine.Mount, release func() error, err error) {
	switch m.typ {
	case "tmpfs":
		out := &engine.Mount{Type: "tmpfs", Target: m.target}
		if m.size != "" {
			out.Options = "size=" + strings.TrimRight(m.size, "bB")
		}
		return out, nil, nil
	case "secret":
		return b.secretMount(m)
	case "cache":
		return b.cacheMount(m)
	}
	if m.from != "" {
		img, err := b.fromImage(s, m.from)
		if err != nil {
			return nil, nil, fmt.Errorf("--mount=%.100s: %w", m.text, err)
		}
		out := &engine.Mount{Type: "image", Source: img.ID.String(), Target: m.target, ReadOnly: true}
		if sub := local(m.source); sub != "." {
			out.Subpath = sub
		}
		return out, nil, nil
	}
	return b.bindMount(m)
}

// bindMount shows a copy of a part of the context: nothing that happens to that meanwhile is seen.
func (b *builder) bindMount(m *runMount) (*engine.Mount, func() error, error) {
	list, st, err := b.bound(m)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(b.scratch, "bind-")
	if err != nil {
		return nil, nil, err
	}
	release := func() error { return os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, release, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, release, err
	}
	defer root.Close()
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(writePlain(w, list)) }()
	err = treecopy.Extract(b.ctx, root, r, nil)
	_ = r.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return nil, release, fmt.Errorf("--mount=%.100s: %w", m.text, err)
	}
	out := &engine.Mount{Type: "bind", Source: dir, Target: m.target, ReadOnly: true}
	if !st.IsDir() {
		out.Source = filepath.Join(dir, "file")
	}
	return out, release, nil
}

// writePlain writes entries as a tar stream.
func writePlain(out io.Writer, list []*entry) error {
	w := tar.NewWriter(out)
	for _, e := range list {
		h := e.header
		h.Name, h.Format = e.name, tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		f, err := e.open()
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return w.Close()
}

func (b *builder) secretMount(m *runMount) (*engine.Mount, func() error, error) {
	text, ok := b.o.Secrets[m.id]
	if !ok {
		if m.required {
			return nil, nil, fmt.Errorf("secret %s: not found: %w", m.id, fs.ErrNotExist)
		}
		return nil, nil, nil
	}
	f, err := os.CreateTemp(b.scratch, "secret-")
	if err != nil {
		return nil, nil, err
	}
	_, err = f.Write(text)
	if err == nil && (m.uid != 0 || m.gid != 0) {
		err = f.Chown(m.uid, m.gid)
	}
	if err == nil {
		err = f.Chmod(fs.FileMode(m.mode) & fs.ModePerm)
	}
	release := func() error { return os.Remove(f.Name()) }
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, release, err
	}
	return &engine.Mount{Type: "bind", Source: f.Name(), Target: m.target, ReadOnly: true}, release, nil
}

// cacheMount is a volume, which stays for later builds.
func (b *builder) cacheMount(m *runMount) (*engine.Mount, func() error, error) {
	name := "build-cache-" + hash(m.id)[:24]
	var release func() error
	if m.sharing == "locked" {
		var err error
		if release, err = b.e.BuildLock(b.ctx, name); err != nil {
			return nil, nil, err
		}
	}
	if _, err := b.e.Volumes().Get(name); errors.Is(err, fs.ErrNotExist) {
		_, err := b.e.CreateVolume(name, &volume.CreateOptions{Labels: map[string]string{engine.CacheVolumeLabel: m.id}})
		if err != nil {
			return nil, release, err
		}
		v, err := b.e.Volumes().Get(name)
		if err == nil {
			err = os.Chmod(v.Path, fs.FileMode(m.mode)&fs.ModePerm)
		}
		if err == nil && (m.uid != 0 || m.gid != 0) {
			err = os.Lchown(v.Path, m.uid, m.gid)
		}
		if err != nil {
			return nil, release, err
		}
	}
	return &engine.Mount{Type: "volume", Source: name, Target: m.target, NoCopy: true}, release, nil
}
