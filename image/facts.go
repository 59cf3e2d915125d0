package image

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// To list many images is to read two documents of each, JSON both. The facts file has what a list takes of them. It is a
// cache: what is not in it is read from the documents, and who finds something missing writes it anew; it is lost without
// harm. Facts never change, since documents are named by their digest: what is looked up each time is whether the document
// still is there.
//
// It is a line with its version, the SHA-256 of the rest, and then, each number a varint and each text after its length:
// the layers (diffID, size), and the documents.
const (
	factsName  = "facts.cache"
	factsHead  = "caisson facts 1\n"
	maxFacts   = 64 << 20 // bytes of the file
	fewFacts   = 16       // not worth a file
	factsStart = len(factsHead) + sha256.Size
)

// facts are what a list has to know of a document.
type facts struct {
	mediaType string // of the descriptor by which it was read
	bytes     int64

	// Of an index: what it lists.
	children []ocispec.Descriptor

	// Of an image's manifest; config is "" for any other document.
	config   digest.Digest
	created  time.Time
	labels   map[string]string
	platform ocispec.Platform // its first three fields
	diffIDs  []digest.Digest
}

// A factBook are the facts that one call uses.
type factBook struct {
	documents map[digest.Digest]*facts
	layers    map[digest.Digest]int64
	blobs     map[string]bool        // those that are there, by the digits of their SHA-256
	extracted map[digest.Digest]bool // layers that are there; nil when that is not known
	missing   int                    // in the file
	used      struct {
		documents map[digest.Digest]*facts
		layers    map[digest.Digest]int64
	}
}

func (s *Store) openFacts() *factBook {
	b := &factBook{}
	data, err := readBounded(s.path(factsName), maxFacts)
	if err != nil || !b.decode(data) {
		b.documents, b.layers = map[digest.Digest]*facts{}, map[digest.Digest]int64{}
	}
	b.used.documents, b.used.layers = map[digest.Digest]*facts{}, map[digest.Digest]int64{}
	if f, err := os.Open(s.path(ocispec.ImageBlobsDir, digest.Canonical.String())); err == nil {
		names, _ := f.Readdirnames(-1)
		b.blobs = make(map[string]bool, len(names))
		for _, name := range names {
			b.blobs[name] = true
		}
		_ = f.Close()
	}
	return b
}

// there says whether a blob is there.
func (b *factBook) there(s *Store, d digest.Digest) bool {
	if digits, ok := strings.CutPrefix(string(d), "sha256:"); ok {
		return b.blobs[digits]
	}
	return d.Validate() == nil && exists(s.blobPath(d))
}

// get returns the facts of a document, or nil when it cannot be read.
func (b *factBook) get(s *Store, d ocispec.Descriptor) *facts {
	if !b.there(s, d.Digest) {
		return nil
	}
	f, ok := b.documents[d.Digest]
	if !ok || f.mediaType != d.MediaType || f.bytes != d.Size {
		var err error
		if f, err = s.readFacts(d); err != nil {
			return nil
		}
		b.missing++
	} else if f.config != "" && !b.there(s, f.config) {
		return nil
	}
	b.documents[d.Digest], b.used.documents[d.Digest] = f, f
	return f
}

// save writes the file when something was missing. That it cannot, for want of a right or of space, costs only time.
func (b *factBook) save(s *Store) {
	if b.missing == 0 || len(b.used.documents) < fewFacts {
		return
	}
	data := b.encode()
	if len(data) > maxFacts {
		return
	}
	f, err := os.CreateTemp(s.dir, ".tmp-") // as of durable's: swept when it is left behind
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path(factsName))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

func (b *factBook) encode() []byte {
	e := factWriter(append([]byte(factsHead), make([]byte, sha256.Size)...))
	e.number(int64(len(b.used.layers)))
	for d, size := range b.used.layers {
		e.text(string(d))
		e.number(size)
	}
	e.number(int64(len(b.used.documents)))
	for d, f := range b.used.documents {
		e.text(string(d))
		e.facts(f)
	}
	sum := sha256.Sum256(e[factsStart:])
	copy(e[len(factsHead):], sum[:])
	return e
}

// decode reads the file, and says whether it is one, and whole.
func (b *factBook) decode(data []byte) bool {
	if len(data) < factsStart || string(data[:len(factsHead)]) != factsHead {
		return false
	}
	if sha256.Sum256(data[factsStart:]) != [sha256.Size]byte(data[len(factsHead):factsStart]) {
		return false
	}
	return b.decodeBody(string(data[factsStart:]))
}

func (b *factBook) decodeBody(body string) bool {
	r := factReader(body)
	n := r.count()
	b.layers = make(map[digest.Digest]int64, min(n, 1<<12))
	for range n {
		d := digest.Digest(r.text())
		b.layers[d] = r.number()
	}
	n = r.count()
	b.documents = make(map[digest.Digest]*facts, min(n, 1<<12))
	for range n {
		d := digest.Digest(r.text())
		b.documents[d] = r.facts()
	}
	return len(r) == 0
}

// A factWriter writes facts.
type factWriter []byte

func (w *factWriter) number(n int64) { *w = binary.AppendVarint(*w, n) }

func (w *factWriter) text(s string) {
	w.number(int64(len(s)))
	*w = append(*w, s...)
}

func (w *factWriter) platform(p *ocispec.Platform) {
	w.text(p.OS)
	w.text(p.Architecture)
	w.text(p.Variant)
}

func (w *factWriter) facts(f *facts) {
	w.text(f.mediaType)
	w.number(f.bytes)
	w.number(int64(len(f.children)))
	for _, c := range f.children {
		w.text(string(c.Digest))
		w.text(c.MediaType)
		w.number(c.Size)
		if c.Platform == nil {
			w.number(0)
			continue
		}
		w.number(1)
		w.platform(c.Platform)
	}
	w.text(string(f.config))
	w.number(f.created.Unix())
	w.number(int64(f.created.Nanosecond()))
	w.platform(&f.platform)
	w.number(int64(len(f.labels)))
	for k, v := range f.labels {
		w.text(k)
		w.text(v)
	}
	w.number(int64(len(f.diffIDs)))
	for _, d := range f.diffIDs {
		w.text(string(d))
	}
}

// A factReader reads facts; "\xff" is one that failed.
type factReader string

func (r *factReader) number() int64 {
	// binary.Varint takes bytes.
	var u uint64
	for i := 0; i < len(*r) && i < binary.MaxVarintLen64; i++ {
		c := (*r)[i]
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			*r = (*r)[i+1:]
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	*r = "\xff"
	return 0
}

// count reads a number of things, each of a byte at least.
func (r *factReader) count() int {
	n := r.number()
	if n < 0 || n > int64(len(*r)) {
		*r = "\xff"
		return 0
	}
	return int(n)
}

func (r *factReader) text() string {
	n := r.count()
	s := string((*r)[:n])
	*r = (*r)[n:]
	return s
}

func (r *factReader) platform() ocispec.Platform {
	return ocispec.Platform{OS: r.text(), Architecture: r.text(), Variant: r.text()}
}

func (r *factReader) facts() *facts {
	f := &facts{mediaType: r.text(), bytes: r.number()}
	for range r.count() {
		c := ocispec.Descriptor{Digest: digest.Digest(r.text()), MediaType: r.text(), Size: r.number()}
		if r.number() != 0 {
			p := r.platform()
			c.Platform = &p
		}
		f.children = append(f.children, c)
	}
	f.config = digest.Digest(r.text())
	f.created = time.Unix(r.number(), r.number()).UTC()
	f.platform = r.platform()
	if n := r.count(); n > 0 {
		f.labels = make(map[string]string, min(n, 1<<12))
		for range n {
			k := r.text()
			f.labels[k] = r.text()
		}
	}
	if n := r.count(); n > 0 {
		f.diffIDs = make([]digest.Digest, 0, min(n, 1<<12))
		for range n {
			f.diffIDs = append(f.diffIDs, digest.Digest(r.text()))
		}
	}
	return f
}
