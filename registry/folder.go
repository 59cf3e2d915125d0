package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
)

// A FolderStore is a Store in a folder, which several processes may use at once. What was acknowledged survives a
// crash, what was not leaves at most an upload to be expired and files that Collect removes. Content is kept once for
// all repositories:
//
//	blobs/<algorithm>/<hex>                             content, as in an OCI image layout
//	repositories/<name>/_blobs/<algorithm>/<hex>        the repository has this blob
//	repositories/<name>/_manifests/<algorithm>/<hex>    and this manifest: descriptor and subject, JSON
//	repositories/<name>/_tags/<tag>                     the digest that a tag names
//	repositories/<name>/_referrers/<alg>/<hex>/<alg>-<hex>   a manifest whose subject is the first one
//	uploads/<uuid>/                                     an upload under way
//	lock                                                shared by who adds, exclusive for who removes
//
// A file a tag, and not one index.json for all, because pushing a tag then costs the same however many there are.
// Deleting takes names away; Collect then removes the content that no repository has. It works where internal file
// locks do: not on Windows.
type FolderStore struct {
	dir     string
	uploads *UploadFolder
}

var _ interface {
	Store
	ReferrerLister
	UploadStore
	UploadRemover
	BlobMounter
	ManifestPutter
	Deleter
} = (*FolderStore)(nil)

const (
	maxStoredManifest = 64 << 20 // bytes: a record that claims more is damaged
	maxRecord         = 16 << 20 // bytes of a manifest's record, annotations included
)

// OpenFolder opens the store in dir, which it makes if need be.
func OpenFolder(dir string) (*FolderStore, error) {
	s := &FolderStore{dir: dir}
	for _, name := range []string{"blobs", "repositories"} {
		if err := makeDirs(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("open registry store: %w", err)
		}
	}
	var err error
	if s.uploads, err = OpenUploads(filepath.Join(dir, "uploads")); err != nil {
		return nil, fmt.Errorf("open registry store: %w", err)
	}
	lock, err := s.lock(context.Background(), false)
	if err != nil {
		return nil, fmt.Errorf("open registry store: %w", err)
	}
	return s, lock.Close()
}

func (s *FolderStore) lock(ctx context.Context, exclusive bool) (*durable.Lock, error) {
	return durable.Acquire(ctx, filepath.Join(s.dir, "lock"), exclusive)
}

// split turns a digest into the two names of its path.
func split(d digest.Digest) string { return filepath.Join(string(d.Algorithm()), d.Encoded()) }

func (s *FolderStore) blobPath(d digest.Digest) string {
	return filepath.Join(s.dir, "blobs", split(d))
}

// in returns a path inside a repository's folder. Its parts are valid: see validRepository.
func (s *FolderStore) in(repository string, parts ...string) string {
	return filepath.Join(append([]string{s.dir, "repositories", filepath.FromSlash(repository)}, parts...)...)
}

func (s *FolderStore) blobLink(repository string, d digest.Digest) string {
	return s.in(repository, "_blobs", split(d))
}

func (s *FolderStore) recordPath(repository string, d digest.Digest) string {
	return s.in(repository, "_manifests", split(d))
}

// A manifestRecord is what a repository knows of a manifest.
type manifestRecord struct {
	Descriptor ocispec.Descriptor `json:"descriptor"`
	Subject    digest.Digest      `json:"subject,omitempty"`
}

func (s *FolderStore) record(repository string, d digest.Digest) (*manifestRecord, error) {
	b, err := readFile(s.recordPath(repository, d), maxRecord)
	if err != nil {
		return nil, err
	}
	var m manifestRecord
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest %s of repository %s: its record is damaged: %w", d, repository, err)
	}
	if m.Descriptor.Digest != d || m.Descriptor.Size < 0 || m.Descriptor.Size > maxStoredManifest {
		return nil, fmt.Errorf("manifest %s of repository %s: its record is damaged", d, repository)
	}
	return &m, nil
}

// tag returns what a tag names.
func (s *FolderStore) tag(repository, tag string) (digest.Digest, error) {
	b, err := readFile(s.in(repository, "_tags", tag), 1<<10)
	if err != nil {
		return "", err
	}
	d := digest.Digest(b)
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("tag %s of repository %s: damaged: %w", tag, repository, err)
	}
	return d, nil
}

// Manifest implements Store.
func (s *FolderStore) Manifest(_ context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	var none ocispec.Descriptor
	d := digest.Digest(reference)
	if !strings.Contains(reference, ":") {
		var err error
		if d, err = s.tag(repository, reference); err != nil {
			return none, nil, err
		}
	}
	m, err := s.record(repository, d)
	if err != nil {
		return none, nil, err
	}
	b, err := readFile(s.blobPath(d), m.Descriptor.Size)
	if err != nil {
		return none, nil, err
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return none, nil, fmt.Errorf("manifest of repository %s: damaged on disk: it should have digest %s and has %s",
			repository, d, got)
	}
	return m.Descriptor, b, nil
}

// Blob implements Store.
func (s *FolderStore) Blob(_ context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error) {
	if _, err := os.Lstat(s.blobLink(repository, d)); err != nil {
		return nil, err
	}
	return os.Open(s.blobPath(d))
}

// Tags implements Store.
func (s *FolderStore) Tags(_ context.Context, repository string) ([]string, error) {
	entries, err := os.ReadDir(s.in(repository, "_tags"))
	if errors.Is(err, fs.ErrNotExist) {
		for _, part := range []string{"_manifests", "_blobs"} {
			if _, err := os.Stat(s.in(repository, part)); err == nil {
				return nil, nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, e := range entries {
		if validTag(e.Name()) {
			tags = append(tags, e.Name())
		}
	}
	slices.Sort(tags)
	return tags, nil
}

// Referrers implements ReferrerLister.
func (s *FolderStore) Referrers(ctx context.Context, repository string, d digest.Digest) ([]ocispec.Descriptor, error) {
	entries, err := os.ReadDir(s.in(repository, "_referrers", split(d)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		of := digest.Digest(strings.Replace(e.Name(), "-", ":", 1))
		if of.Validate() != nil {
			continue
		}
		m, err := s.record(repository, of)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the mark is made before the record and removed after it
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m.Descriptor)
	}
	sortDescriptors(all)
	return all, nil
}
