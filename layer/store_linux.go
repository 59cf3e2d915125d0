package layer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	contentName = "fs"
	recordName  = "layer.json"
	impliedName = "implied" // paths of folders without an entry, each ended by a NUL byte
	tempName    = "tmp"
	lockName    = "lock"

	maxRecord  = 64 << 10
	maxImplied = 64 << 20
)

// A Store is a folder of layers. It is safe for use by several goroutines, and the folder by several processes.
type Store struct {
	dir      string
	decoders *decoders
	sums     *sums
	format   Format
	making   sync.Mutex              // see writer.alone
	fault    func(step string) error // in tests: fails a step; nil otherwise
}

// record is the file that says what a layer is.
type record struct {
	DiffID digest.Digest `json:"diffID"`
	Size   int64         `json:"size"`
	Usage  int64         `json:"usage"`
	Names  int64         `json:"names"`
	Opaque bool          `json:"opaque,omitempty"`
	Format string        `json:"format,omitempty"` // "" for a folder
	Boot   string        `json:"boot,omitempty"`   // kernel.BootID when it was extracted
}

// Open opens the store at dir, which it makes if need be, and deletes what killed processes left half made in it. Layers
// that they had extracted whole are put into the store, unless the machine was started anew since.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open layer store: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, tempName), filepath.Join(dir, chainsName),
		filepath.Join(dir, digest.Canonical.String())} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open layer store: %w", err)
		}
	}
	s := &Store{dir: dir, decoders: newDecoders(), sums: &sums{}}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("open layer store %s: %w", dir, err)
	}
	return s, nil
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) step(name string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(name)
}

// path returns the folder of a layer. A digest that is none is an error: it must not name another folder.
func (s *Store) path(diffID digest.Digest) (string, error) {
	if err := diffID.Validate(); err != nil {
		return "", fmt.Errorf("diffID %q: %w", diffID, err)
	}
	return filepath.Join(s.dir, diffID.Algorithm().String(), diffID.Encoded()), nil
}

// Get returns the layer with this diffID. It is ErrNotFound, wrapped, when the store does not have it.
func (s *Store) Get(diffID digest.Digest) (Layer, error) {
	path, err := s.path(diffID)
	if err != nil {
		return Layer{}, err
	}
	data, err := readLimited(filepath.Join(path, recordName), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return Layer{}, fmt.Errorf("layer %s: %w", diffID, ErrNotFound)
	}
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s: %w", diffID, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return Layer{}, fmt.Errorf("layer %s: read %s: %w", diffID, recordName, err)
	}
	if r.DiffID != diffID {
		return Layer{}, fmt.Errorf("layer %s: %s says it is %s", diffID, recordName, r.DiffID)
	}
	if r.Format != "" && r.Format != EROFS.String() {
		return Layer{}, fmt.Errorf("layer %s: format %.40q: %w", diffID, r.Format, errors.ErrUnsupported)
	}
	return s.layer(path, r), nil
}

func (s *Store) layer(path string, r record) Layer {
	l := Layer{
		DiffID: r.DiffID, Size: r.Size, Usage: r.Usage, Names: r.Names, Opaque: r.Opaque,
		scratch: s.dir, implied: filepath.Join(path, impliedName),
	}
	if r.Format == "" {
		l.Dir = filepath.Join(path, contentName)
	} else {
		l.Image = filepath.Join(path, imageName)
	}
	return l
}

// List returns the layers of the store, in the order of their digests.
func (s *Store) List() ([]Layer, error) {
	ids, _, err := s.ids()
	if err != nil {
		return nil, err
	}
	var layers []Layer
	for _, id := range ids {
		l, err := s.Get(id)
		if errors.Is(err, ErrNotFound) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// Digests returns the diffIDs of the layers of the store, in order, without reading what they are.
func (s *Store) Digests() ([]digest.Digest, error) {
	ids, _, err := s.ids()
	return ids, err
}

// ids returns the digests that the store has folders for, and the paths in it that belong to nothing.
func (s *Store) ids() (ids []digest.Digest, strays []string, err error) {
	top, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list layers: %w", err)
	}
	for _, a := range top {
		switch a.Name() {
		case tempName, chainsName, lockName:
			continue
		}
		if !a.IsDir() || !digest.Algorithm(a.Name()).Available() {
			strays = append(strays, a.Name())
			continue
		}
		entries, err := os.ReadDir(filepath.Join(s.dir, a.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("list layers: %w", err)
		}
		for _, e := range entries {
			id := digest.NewDigestFromEncoded(digest.Algorithm(a.Name()), e.Name())
			if id.Validate() != nil || !e.IsDir() {
				strays = append(strays, filepath.Join(a.Name(), e.Name()))
				continue
			}
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b digest.Digest) int { return strings.Compare(a.String(), b.String()) })
	return ids, strays, nil
}

// readLimited reads a file of at most limit bytes. It is what a list of images does most, so it asks the kernel itself: an
// os.File takes five further calls to find out that there is nothing to wait for.
func readLimited(path string, limit int64) ([]byte, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 512)
	for {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Read(fd, data[len(data):cap(data)])
			return err
		})
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, nil
		}
		if data = data[:len(data)+n]; int64(len(data)) > limit {
			return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}
