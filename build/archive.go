package build

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
)

// An archive is a tar archive that ADD extracts.
type archive struct {
	src   *source
	at    string
	sum   string
	limit int64
}

// archive returns the archive that a file of the context is, or nil.
func (c *copying) archive(at string) (*archive, error) {
	f, _, err := c.src.openFile(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	is, err := isArchive(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if !is {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, &reader{c.b.ctx, f}); err != nil {
		return nil, err
	}
	return &archive{src: c.src, at: at, sum: hex.EncodeToString(h.Sum(nil)), limit: c.b.maxNames()}, nil
}

// write puts what is in the archive below dir. How large it may be is bounded by the layer store.
func (a *archive) write(w *layerWriter, dir string, who *owner) error {
	f, _, err := a.src.openFile(a.at)
	if err != nil {
		return err
	}
	defer f.Close()
	in, end, err := decompressed(f)
	if err != nil {
		return err
	}
	defer end()
	t := tar.NewReader(in)
	for n := int64(0); ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && n >= a.limit {
			err = fmt.Errorf("more than %d names: %w", a.limit, errTooLarge)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.at, err)
		}
		if err := a.entry(w, dir, h, t, who); err != nil {
			return fmt.Errorf("%s: %.300s: %w", a.at, h.Name, err)
		}
	}
}

func (a *archive) entry(w *layerWriter, dir string, h *tar.Header, content io.Reader, who *owner) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	default:
		return fmt.Errorf("an entry of type %q: %w", h.Typeflag, errors.ErrUnsupported)
	}
	if len(h.Name) > maxName {
		return errNameTooLong
	}
	name := path.Clean(h.Name)
	if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
		if name = path.Clean("/" + strings.TrimLeft(name, "/")); strings.Contains(h.Name, "..") {
			return fmt.Errorf("the name leads out of the archive: %w", fs.ErrInvalid)
		}
	}
	if name == "." || name == "/" {
		return nil
	}
	out := &tar.Header{
		Typeflag: h.Typeflag, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid, Size: h.Size, ModTime: h.ModTime, Linkname: h.Linkname,
		Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	if h.Typeflag != tar.TypeReg {
		out.Size = 0
	}
	for key, v := range h.PAXRecords {
		if key == capabilityRecord || strings.HasPrefix(key, "SCHILY.xattr.user.") && !strings.HasPrefix(key, "SCHILY.xattr.user.overlay.") {
			if out.PAXRecords == nil {
				out.PAXRecords = map[string]string{}
			}
			out.PAXRecords[key] = v
		}
	}
	if who != nil {
		out.Uid, out.Gid = who.uid, who.gid
	}
	return w.put(dir, name, out, content)
}

// isAddress says whether a source of ADD is to be fetched.
func isAddress(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "git@") ||
		strings.HasPrefix(name, "git://") || strings.HasPrefix(name, "ssh://")
}

// download fetches a file by HTTP.
func (c *copying) download(address string) (*part, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(u.Path, ".git") {
		return nil, fmt.Errorf("ADD %s: repositories of git are not implemented: %w", address, errors.ErrUnsupported)
	}
	name := path.Base(u.Path)
	if c.asFolder && (name == "." || name == "/") {
		return nil, fmt.Errorf("cannot determine filename for source %s", address)
	}
	r, err := http.NewRequestWithContext(c.b.ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ADD %s: %s", address, answer.Status)
	}
	dir, err := os.MkdirTemp(c.b.scratch, "download-")
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	c.b.held = append(c.b.held, root.Close)
	f, err := root.OpenFile("file", os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	h, limit := sha256.New(), cmp.Or(c.b.o.MaxDownload, defaultMaxDownload)
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(answer.Body, limit+1))
	if err = errors.Join(err, f.Close()); err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes: %w", limit, errTooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("ADD %s: %w", address, err)
	}
	if want := c.checksum; want != "" {
		got := digest.NewDigest(digest.SHA256, h)
		if d := digest.Digest(want); d.Validate() != nil || d.Algorithm() != digest.SHA256 {
			return nil, bad("--checksum=%.100s is no digest of sha256", want)
		} else if d != got {
			return nil, fmt.Errorf("ADD %s: digest mismatch %s: %s", address, got, want)
		}
	}
	modified := c.b.now()
	if t, err := http.ParseTime(answer.Header.Get("Last-Modified")); err == nil {
		modified = t
	}
	e := &entry{name: name, src: &source{ctx: c.b.ctx, root: root}, at: "file", header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o600, Size: n, ModTime: modified}}
	p := &part{entries: []*entry{e}}
	p.sum, err = sum(p.entries)
	return p, err
}
