package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Listing many images reads two small blobs of each. The documents file has them all one after the other, so that one
// read takes the place of thousands: "sha256:<hex> <size>\n", then so many bytes. It is a cache: what is not in it, or has
// another digest, is read from its blob, and a document whose blob is gone is gone. Who finds something missing writes it
// anew; it is lost without harm.
const (
	documentsName = "documents.cache"
	maxDocuments  = 64 << 20 // bytes of the file
	fewDocuments  = 32       // not worth a file
)

// Documents are what one call has read.
type documents struct {
	cached  map[digest.Digest][]byte // in the file
	present map[string]bool          // the blobs that are there, by the digits of their SHA-256

	mu   sync.Mutex
	used map[digest.Digest][]byte
	size int
	new  int // of used, those that are not in the file
}

func (s *Store) openDocuments() *documents {
	d := &documents{cached: map[digest.Digest][]byte{}, used: map[digest.Digest][]byte{}}
	b, err := readBounded(s.path(documentsName), maxDocuments)
	for err == nil && len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte("\n"))
		name, length, ok2 := strings.Cut(string(head), " ")
		size, err := strconv.Atoi(length)
		if err != nil || !ok || !ok2 || size < 0 || size > len(rest) {
			break // cut off, or not ours
		}
		d.cached[digest.Digest(name)] = rest[:size:size]
		b = rest[size:]
	}
	if len(d.cached) == 0 {
		return d
	}
	f, err := os.Open(s.path(ocispec.ImageBlobsDir, digest.Canonical.String()))
	if err != nil {
		return d
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	d.present = make(map[string]bool, len(names))
	for _, name := range names {
		d.present[name] = true
	}
	return d
}

// get returns a document by digest, verified.
func (d *documents) get(want digest.Digest) ([]byte, bool) {
	digits, ok := strings.CutPrefix(string(want), "sha256:")
	b, ok2 := d.cached[want]
	if !ok || !ok2 || !d.present[digits] {
		return nil, false
	}
	sum := sha256.Sum256(b)
	var have [2 * sha256.Size]byte
	hex.Encode(have[:], sum[:])
	return b, digits == string(have[:])
}

// note takes a document that was read, and verified.
func (d *documents) note(of digest.Digest, b []byte, cached bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.used[of]; ok {
		return
	}
	d.used[of] = b
	d.size += len(b) + len(of) + 12
	if !cached {
		d.new++
	}
}

// save writes the file when something was missing. That it cannot, for want of a right or of space, costs only time.
func (d *documents) save(s *Store) {
	if d.new == 0 || len(d.used) < fewDocuments || d.size > maxDocuments {
		return
	}
	f, err := os.CreateTemp(s.dir, ".tmp-") // as of durable's: swept when it is left behind
	if err != nil {
		return
	}
	var b bytes.Buffer
	b.Grow(d.size)
	for of, content := range d.used {
		fmt.Fprintf(&b, "%s %d\n", of, len(content))
		b.Write(content)
	}
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path(documentsName))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}
