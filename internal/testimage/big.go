package testimage

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Big says how large an image is to be: what the images of programming languages are like, in layers of very different
// sizes, with many small files, some large ones, links and deep folders. Its content compresses to somewhat more than a third.
type Big struct {
	Bytes   int64 // of all files together
	Entries int   // of all layers together
	Layers  int
	Zstd    bool // instead of gzip
}

// A Folder holds a Big that was written: its blobs in files named by their digests. See [Served].
type Folder struct {
	Dir      string
	Manifest Blob
	Layers   []ocispec.Descriptor
}

// Write makes the image in a folder.
func (b Big) Write(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	config := ocispec.Image{
		Created: &made, Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{Type: "layers"},
	}
	weights := 0
	for n := range b.Layers {
		weights += n + 1
	}
	for n := range b.Layers {
		part := func(v int64) int64 { return v * int64(n+1) / int64(weights) }
		d, diffID, err := b.layer(f, n, part(b.Bytes), int(part(int64(b.Entries))))
		if err != nil {
			return nil, err
		}
		f.Layers = append(f.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	c, err := f.document(ocispec.MediaTypeImageConfig, config)
	if err != nil {
		return nil, err
	}
	f.Manifest, err = f.document(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: c.Descriptor, Layers: f.Layers,
	})
	return f, err
}

func (f *Folder) path(d digest.Digest) string { return filepath.Join(f.Dir, d.Encoded()) }

func (f *Folder) document(mediaType string, v any) (Blob, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return Blob{}, err
	}
	b := blob(mediaType, text)
	return b, os.WriteFile(f.path(b.Descriptor.Digest), text, 0o600)
}

// A sum is a writer that keeps the digest and the size of what goes through.
type sum struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (s *sum) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (s *sum) digest() digest.Digest { return digest.NewDigest(digest.SHA256, s.h) }

func (b Big) layer(f *Folder, n int, bytes int64, entries int) (d ocispec.Descriptor, diffID digest.Digest, err error) {
	file, err := os.CreateTemp(f.Dir, "layer-*")
	if err != nil {
		return d, "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffer := bufio.NewWriterSize(file, 1<<20)
	out := &sum{w: buffer, h: sha256.New()}
	d.MediaType = ocispec.MediaTypeImageLayerGzip
	var z io.WriteCloser = gzip.NewWriter(out)
	if b.Zstd {
		d.MediaType = ocispec.MediaTypeImageLayerZstd
		if z, err = zstd.NewWriter(out); err != nil {
			return d, "", err
		}
	}
	in := &sum{w: z, h: sha256.New()}
	if err := writeFiles(tar.NewWriter(in), n, bytes, entries); err != nil {
		return d, "", err
	}
	if err := errors.Join(z.Close(), buffer.Flush()); err != nil {
		return d, "", err
	}
	d.Digest, d.Size = out.digest(), out.n
	return d, in.digest(), os.Rename(file.Name(), f.path(d.Digest))
}

// writeFiles writes a folder for every ten entries, a link for every twenty, and files: a twentieth of them holds half of
// the bytes.
func writeFiles(w *tar.Writer, n int, bytes int64, entries int) error {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	text := newText(r)
	files := max(1, entries*85/100)
	large := max(1, files/20)
	small := bytes / 2 / int64(max(1, files-large))
	at := time.Date(2024, 1, 1, 0, 0, 0, 123456789, time.UTC)
	dir := ""
	for i := range entries {
		h := &tar.Header{ModTime: at, Mode: 0o644, Typeflag: tar.TypeReg, Uid: i % 3, Format: tar.FormatPAX}
		switch {
		case i%10 == 0:
			dir = fmt.Sprintf("usr/lib/part%d/module%d/v%d/", n, i/100, i/10)
			h.Name, h.Typeflag, h.Mode = dir, tar.TypeDir, 0o755
		case i%20 == 7:
			h.Name, h.Typeflag, h.Linkname = fmt.Sprintf("%slink%d", dir, i), tar.TypeSymlink, "../target"
		default:
			h.Name = fmt.Sprintf("%sfile%d.py", dir, i)
			if h.Size = small/2 + r.Int64N(small+1); i%20 == 11 {
				h.Size = bytes / 2 / int64(large)
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if err := text.write(w, h.Size); err != nil {
			return err
		}
	}
	return w.Close()
}

// A text makes content of words, numbers and, for a part, noise.
type text struct {
	r     *rand.Rand
	pages [][]byte
}

func newText(r *rand.Rand) *text {
	t := &text{r: r}
	words := make([]string, 1000)
	for i := range words {
		b := make([]byte, 2+r.IntN(10))
		for j := range b {
			b[j] = byte('a' + r.IntN(26))
		}
		words[i] = string(b)
	}
	for range 256 {
		var page []byte
		for len(page) < 16<<10 {
			page = append(append(page, words[min(r.IntN(len(words)), r.IntN(len(words)))]...), " \n\t(="[r.IntN(5)])
			if r.IntN(80) == 0 {
				page = binary.LittleEndian.AppendUint64(page, r.Uint64())
			}
		}
		t.pages = append(t.pages, page)
	}
	return t
}

func (t *text) write(w io.Writer, n int64) error {
	for n > 0 {
		p := t.pages[t.r.IntN(len(t.pages))]
		p = p[t.r.IntN(len(p)/2):]
		p = p[:min(n, int64(len(p)))]
		if _, err := w.Write(p); err != nil {
			return err
		}
		n -= int64(len(p))
	}
	return nil
}

// Open opens a blob.
func (f *Folder) Open(d digest.Digest) (*os.File, error) { return os.Open(f.path(d)) }

// Served is a Folder as a store that a registry.Server can serve, of any repository and tag.
type Served struct{ *Folder }

// Manifest returns the manifest, by any tag.
func (s Served) Manifest(_ context.Context, _, reference string) (ocispec.Descriptor, []byte, error) {
	m := s.Folder.Manifest
	if d := digest.Digest(reference); d.Validate() == nil && d != m.Descriptor.Digest {
		return ocispec.Descriptor{}, nil, fs.ErrNotExist
	}
	return m.Descriptor, m.Content, nil
}

// Blob opens a configuration or a layer.
func (s Served) Blob(_ context.Context, _ string, d digest.Digest) (io.ReadSeekCloser, error) {
	return s.Open(d)
}

// Tags lists one tag.
func (s Served) Tags(context.Context, string) ([]string, error) { return []string{"latest"}, nil }
