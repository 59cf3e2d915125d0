package registry

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A MemoryStore is a Store that keeps everything in memory and can do all that a Store can do. The zero value is
// empty and ready. It must not be copied.
type MemoryStore struct {
	mu           sync.Mutex
	repositories map[string]*memoryRepository
	uploads      map[UploadID]*memoryUpload
	lastUse      map[digest.Digest]int64 // of what a cache has read, counted up
	uses         int64
}

type memoryRepository struct {
	blobs     map[digest.Digest][]byte
	manifests map[digest.Digest]*StoredManifest
	tags      map[string]digest.Digest
}

type memoryUpload struct {
	content bytes.Buffer
	busy    bool
	grown   time.Time
	size    atomic.Int64 // of content
}

var _ interface {
	Store
	ReferrerLister
	UploadStore
	UploadRemover
	BlobMounter
	ManifestPutter
	Deleter
} = (*MemoryStore)(nil)

func notFound(kind, repository, name string) error {
	return fmt.Errorf("%s %s of repository %s: %w", kind, name, repository, ErrNotFound)
}

// repository returns a repository, made if need be. The caller holds s.mu.
func (s *MemoryStore) repository(name string) *memoryRepository {
	r := s.repositories[name]
	if r == nil {
		r = &memoryRepository{
			map[digest.Digest][]byte{}, map[digest.Digest]*StoredManifest{}, map[string]digest.Digest{},
		}
		if s.repositories == nil {
			s.repositories = map[string]*memoryRepository{}
		}
		s.repositories[name] = r
	}
	return r
}

// existing returns a repository; an empty one when there is none.
func (s *MemoryStore) existing(name string) *memoryRepository {
	if r := s.repositories[name]; r != nil {
		return r
	}
	return &memoryRepository{}
}

// Manifest implements Store.
func (s *MemoryStore) Manifest(_ context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.existing(repository)
	d, ok := r.tags[reference]
	if !ok {
		d = digest.Digest(reference)
	}
	m := r.manifests[d]
	if m == nil {
		return ocispec.Descriptor{}, nil, notFound("manifest", repository, reference)
	}
	return m.Descriptor, m.Content, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// Blob implements Store.
func (s *MemoryStore) Blob(_ context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.existing(repository).blobs[d]
	if !ok {
		return nil, notFound("blob", repository, string(d))
	}
	return nopCloser{bytes.NewReader(b)}, nil
}

// Tags implements Store.
func (s *MemoryStore) Tags(_ context.Context, repository string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[repository]
	if r == nil {
		return nil, fmt.Errorf("repository %s: %w", repository, ErrNotFound)
	}
	return slices.Sorted(maps.Keys(r.tags)), nil
}

// Referrers implements ReferrerLister.
func (s *MemoryStore) Referrers(_ context.Context, repository string, d digest.Digest) ([]ocispec.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ocispec.Descriptor
	for _, m := range s.existing(repository).manifests {
		if m.Subject == d {
			all = append(all, m.Descriptor)
		}
	}
	sortDescriptors(all)
	return all, nil
}

func sortDescriptors(all []ocispec.Descriptor) {
	slices.SortFunc(all, func(a, b ocispec.Descriptor) int {
		return strings.Compare(string(a.Digest), string(b.Digest))
	})
}

// NewUpload implements UploadStore.
func (s *MemoryStore) NewUpload(_ context.Context, repository string) (UploadID, error) {
	u := UploadID{repository, newUUID()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads == nil {
		s.uploads = map[UploadID]*memoryUpload{}
	}
	s.uploads[u] = &memoryUpload{grown: time.Now()}
	return u, nil
}

// take reserves an upload for one request.
func (s *MemoryStore) take(id UploadID) (*memoryUpload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	if u == nil {
		return nil, notFound("upload", id.Repository, id.ID)
	}
	if u.busy {
		return nil, ErrUploadBusy
	}
	u.busy = true
	return u, nil
}

func (s *MemoryStore) release(u *memoryUpload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.busy, u.grown = false, time.Now()
}

// AppendUpload implements UploadStore.
func (s *MemoryStore) AppendUpload(_ context.Context, id UploadID, offset int64, r io.Reader) (int64, error) {
	u, err := s.take(id)
	if err != nil {
		return 0, err
	}
	defer s.release(u)
	if offset >= 0 && offset != int64(u.content.Len()) {
		return int64(u.content.Len()), ErrUploadOffset
	}
	if r != nil {
		_, err = u.content.ReadFrom(r)
		u.size.Store(int64(u.content.Len()))
	}
	return int64(u.content.Len()), err
}

// CommitUpload implements UploadStore.
func (s *MemoryStore) CommitUpload(_ context.Context, id UploadID, d digest.Digest) error {
	u, err := s.take(id)
	if err != nil {
		return err
	}
	got := d.Algorithm().FromBytes(u.content.Bytes())
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
	if got != d {
		return &DigestError{Subject: "upload " + id.ID, Want: d, Got: got}
	}
	s.repository(id.Repository).blobs[d] = u.content.Bytes()
	return nil
}

// CancelUpload implements UploadRemover.
func (s *MemoryStore) CancelUpload(_ context.Context, id UploadID) error {
	if _, err := s.take(id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
	return nil
}

// ExpireUploads implements UploadRemover.
func (s *MemoryStore) ExpireUploads(_ context.Context, t time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.uploads)
	maps.DeleteFunc(s.uploads, func(_ UploadID, u *memoryUpload) bool { return !u.busy && u.grown.Before(t) })
	return before - len(s.uploads), nil
}

// MountBlob implements BlobMounter.
func (s *MemoryStore) MountBlob(_ context.Context, repository, from string, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.repositories {
		if b, ok := r.blobs[d]; ok && (from == "" || from == name) {
			s.repository(repository).blobs[d] = b
			return nil
		}
	}
	return notFound("blob", from, string(d))
}

// PutManifest implements ManifestPutter.
func (s *MemoryStore) PutManifest(_ context.Context, repository string, m *StoredManifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repository(repository)
	kept := *m
	r.manifests[m.Descriptor.Digest] = &kept
	for _, tag := range m.Tags {
		r.tags[tag] = m.Descriptor.Digest
	}
	return nil
}

// DeleteManifest implements Deleter.
func (s *MemoryStore) DeleteManifest(_ context.Context, repository string, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.existing(repository)
	if r.manifests[d] == nil {
		return notFound("manifest", repository, string(d))
	}
	maps.DeleteFunc(r.tags, func(_ string, of digest.Digest) bool { return of == d })
	delete(r.manifests, d)
	return nil
}

// DeleteTag implements Deleter.
func (s *MemoryStore) DeleteTag(_ context.Context, repository, tag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.existing(repository)
	if _, ok := r.tags[tag]; !ok {
		return notFound("tag", repository, tag)
	}
	delete(r.tags, tag)
	return nil
}

// DeleteBlob implements Deleter.
func (s *MemoryStore) DeleteBlob(_ context.Context, repository string, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.existing(repository)
	if _, ok := r.blobs[d]; !ok {
		return notFound("blob", repository, string(d))
	}
	delete(r.blobs, d)
	return nil
}

// Usage implements UsageReporter.
func (s *MemoryStore) Usage(_ context.Context, repository string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum int64
	r := s.existing(repository)
	for _, b := range r.blobs {
		sum += int64(len(b))
	}
	for d, m := range r.manifests {
		if _, ok := r.blobs[d]; !ok {
			sum += int64(len(m.Content))
		}
	}
	for id, u := range s.uploads {
		if id.Repository == repository {
			sum += u.size.Load()
		}
	}
	return sum, nil
}

// used notes that content was read.
func (s *MemoryStore) used(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastUse == nil {
		s.lastUse = map[digest.Digest]int64{}
	}
	s.uses++
	s.lastUse[d] = s.uses
}

// Shrink implements Shrinker.
func (s *MemoryStore) Shrink(_ context.Context, size int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := map[digest.Digest]int64{}
	for _, r := range s.repositories {
		for d, b := range r.blobs {
			sizes[d] = int64(len(b))
		}
		for d, m := range r.manifests {
			sizes[d] = int64(len(m.Content))
		}
	}
	var left int64
	for _, n := range sizes {
		left += n
	}
	oldest := slices.SortedFunc(maps.Keys(sizes), func(a, b digest.Digest) int { return cmp.Compare(s.lastUse[a], s.lastUse[b]) })
	for i := 0; left > size; i++ {
		d := oldest[i]
		left -= sizes[d]
		delete(s.lastUse, d)
		for _, r := range s.repositories {
			delete(r.blobs, d)
			delete(r.manifests, d)
			maps.DeleteFunc(r.tags, func(_ string, of digest.Digest) bool { return of == d })
		}
	}
	return left, nil
}
