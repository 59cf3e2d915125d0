package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// An UploadFolder keeps uploads under way in a folder, for a Store of one's own: all that an [UploadStore] and an
// [UploadRemover] do but the last step, which [UploadFolder.Commit] leaves to the Store. Several processes may use one
// folder at once, and what an upload held when a process was killed it still holds. It works where internal file locks do:
// not on Windows.
//
// On disk an upload is a folder <uuid>/ with the files data, repository and lock; without repository it is one that is
// half made or half removed.
type UploadFolder struct {
	dir string

	mu     sync.Mutex
	hashes map[string]*runningHash // by upload: saves reading the content again
}

var _ interface {
	NewUpload(context.Context, string) (UploadID, error)
	AppendUpload(context.Context, UploadID, int64, io.Reader) (int64, error)
	UploadRemover
} = (*UploadFolder)(nil)

// OpenUploads opens the folder dir, which it makes if need be.
func OpenUploads(dir string) (*UploadFolder, error) {
	if err := makeDirs(dir); err != nil {
		return nil, fmt.Errorf("open uploads: %w", err)
	}
	return &UploadFolder{dir: dir, hashes: map[string]*runningHash{}}, nil
}

// A runningHash is the canonical digest of an upload's first size bytes.
type runningHash struct {
	hash.Hash
	size int64
}

var copyBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

func (s *UploadFolder) uploadDir(id string) string { return filepath.Join(s.dir, id) }

// NewUpload is as UploadStore's.
func (s *UploadFolder) NewUpload(_ context.Context, repository string) (UploadID, error) {
	u := UploadID{repository, newUUID()}
	dir := s.uploadDir(u.ID)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "data"), nil, 0o600)
	}
	if err == nil {
		// Last, since an upload without it does not exist.
		err = durable.WriteFile(filepath.Join(dir, "repository"), []byte(repository), 0o600)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return UploadID{}, fmt.Errorf("begin upload: %w", err)
	}
	s.setHash(u.ID, &runningHash{Hash: digest.Canonical.Hash()})
	return u, nil
}

func (s *UploadFolder) setHash(id string, h *runningHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hashes[id] = h
	if h == nil {
		delete(s.hashes, id)
	}
}

func (s *UploadFolder) hash(id string) *runningHash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hashes[id]
}

// take locks an upload for one request.
func (s *UploadFolder) take(u UploadID) (*durable.Lock, error) {
	if !validUUID(u.ID) {
		return nil, notFound("upload", u.Repository, u.ID)
	}
	dir := s.uploadDir(u.ID)
	b, err := readFile(filepath.Join(dir, "repository"), maxRepositoryLength)
	if err != nil {
		return nil, err
	}
	if string(b) != u.Repository {
		return nil, notFound("upload", u.Repository, u.ID)
	}
	return s.takeDir(dir)
}

func (s *UploadFolder) takeDir(dir string) (*durable.Lock, error) {
	lock, held, err := durable.TryAcquire(filepath.Join(dir, "lock"), true)
	if err != nil {
		return nil, err
	}
	if held {
		return nil, ErrUploadBusy
	}
	// It may have ended between the opening of the lock's file and the lock.
	if _, err := os.Lstat(filepath.Join(dir, "lock")); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// AppendUpload is as UploadStore's.
func (s *UploadFolder) AppendUpload(_ context.Context, u UploadID, offset int64, r io.Reader) (int64, error) {
	lock, err := s.take(u)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	f, err := os.OpenFile(filepath.Join(s.uploadDir(u.ID), "data"), os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if offset >= 0 && offset != size {
		return size, ErrUploadOffset
	}
	if r == nil {
		return size, nil
	}
	running := s.hash(u.ID)
	var w io.Writer = f
	if running != nil && running.size == size {
		w = &hashingWriter{f, running}
	} else {
		s.setHash(u.ID, nil) // another process wrote to it: the content is read again at the end
	}
	buffer := copyBuffers.Get().(*[256 << 10]byte)
	defer copyBuffers.Put(buffer)
	n, err := io.CopyBuffer(w, struct{ io.Reader }{r}, buffer[:])
	return size + n, errors.Join(err, f.Close())
}

// A hashingWriter hashes what its file took.
type hashingWriter struct {
	f *os.File
	h *runningHash
}

func (w *hashingWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.h.Write(p[:n])
	w.h.size += int64(n)
	return n, err
}

// Commit ends an upload whose content has the digest d: place is given the path of a file, synced, to be renamed to where
// blobs are. When place fails the upload goes on; when the content has another digest it is over, and the error is a
// *DigestError.
func (s *UploadFolder) Commit(u UploadID, d digest.Digest, place func(path string) error) error {
	held, err := s.take(u)
	if err != nil {
		return err
	}
	defer held.Close()
	f, err := os.OpenFile(filepath.Join(s.uploadDir(u.ID), "data"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := s.digestOf(f, u.ID, d.Algorithm())
	if err != nil {
		return err
	}
	if got != d {
		return errors.Join(&DigestError{Subject: "upload " + u.ID, Want: d, Got: got}, s.forget(u.ID))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := place(f.Name()); err != nil {
		return err
	}
	_ = s.forget(u.ID) // what is left of it expires
	return nil
}

func (s *UploadFolder) digestOf(f *os.File, id string, algorithm digest.Algorithm) (digest.Digest, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if h := s.hash(id); h != nil && h.size == info.Size() && algorithm == digest.Canonical {
		return digest.NewDigest(algorithm, h), nil
	}
	return algorithm.FromReader(io.NewSectionReader(f, 0, info.Size()))
}

// forget removes an upload that the caller has taken. It is no longer one as soon as its repository is gone.
func (s *UploadFolder) forget(id string) error {
	s.setHash(id, nil)
	dir := s.uploadDir(id)
	if err := os.Remove(filepath.Join(dir, "repository")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

// CancelUpload implements UploadRemover.
func (s *UploadFolder) CancelUpload(_ context.Context, u UploadID) error {
	lock, err := s.take(u)
	if err != nil {
		return err
	}
	return errors.Join(s.forget(u.ID), lock.Close())
}

// ExpireUploads implements UploadRemover.
func (s *UploadFolder) ExpireUploads(ctx context.Context, t time.Time) (int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	n := 0
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		dir := s.uploadDir(e.Name())
		info, err := os.Lstat(filepath.Join(dir, "data"))
		if errors.Is(err, fs.ErrNotExist) {
			info, err = os.Lstat(dir) // half made, or half removed
		}
		if err != nil || info.ModTime().After(t) {
			continue
		}
		lock, err := s.takeDir(dir)
		if err != nil {
			continue // in use, or gone
		}
		if err := errors.Join(s.forget(e.Name()), lock.Close()); err != nil {
			errs = append(errs, err)
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// Usage returns how many bytes the uploads to a repository hold.
func (s *UploadFolder) Usage(repository string) (int64, error) {
	uploads, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, u := range uploads {
		b, err := readFile(filepath.Join(s.uploadDir(u.Name()), "repository"), maxRepositoryLength)
		if err != nil || string(b) != repository {
			continue // another's, or one that ended
		}
		if info, err := os.Lstat(filepath.Join(s.uploadDir(u.Name()), "data")); err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}
