package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
)

// blobPath returns where a blob is, or would be. The digest must be a valid one.
func (s *Store) blobPath(d digest.Digest) string {
	return s.path(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// hasBlob says whether the store has a blob of that digest and size.
func (s *Store) hasBlob(d ocispec.Descriptor) bool {
	fi, err := os.Lstat(s.blobPath(d.Digest))
	return err == nil && fi.Mode().IsRegular() && fi.Size() == d.Size
}

// OpenBlob opens a blob of the store: a manifest, a configuration, a layer as it came. It returns an error that
// satisfies errors.Is(err, fs.ErrNotExist) when the store does not have it. What is read is not verified.
func (s *Store) OpenBlob(d digest.Digest) (*os.File, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("blob %.80q: %w", string(d), err)
	}
	f, err := openRegular(s.blobPath(d))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return f, nil
}

// readBlob reads a small blob and verifies it.
func (s *Store) readBlob(d ocispec.Descriptor, limit int64) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	b, err := readBounded(s.blobPath(d.Digest), min(limit, d.Size))
	if err != nil {
		return nil, fmt.Errorf("%w: blob %s: %w", ErrCorrupt, d.Digest, err)
	}
	if err := fitsDigest(d, b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return b, nil
}

// putBlob writes a small blob, durably but for the name, for which there is syncBlobs, and says whether it had to.
func (s *Store) putBlob(d ocispec.Descriptor, b []byte) (wrote bool, err error) {
	if s.hasBlob(d) {
		if _, err := s.readBlob(d, d.Size); err == nil {
			return false, nil
		}
	}
	dst := s.blobPath(d.Digest)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return false, err
	}
	// The lock beside it tells a sweep that it is not left behind.
	base := s.path("tmp", "small-"+rand.Text())
	lock, err := durable.Acquire(context.Background(), base+lockSuffix, true)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Remove()) }()
	f, err := os.OpenFile(base+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false, err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), dst)
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("write blob %s: %w", d.Digest, err), removeIfThere(f.Name()))
	}
	return true, nil
}

// syncBlobs makes the names of blobs durable.
func (s *Store) syncBlobs() error {
	list, err := os.ReadDir(s.path(ocispec.ImageBlobsDir))
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.IsDir() {
			err = errors.Join(err, durable.SyncDir(s.path(ocispec.ImageBlobsDir, e.Name())))
		}
	}
	return errors.Join(err, durable.SyncDir(s.path(ocispec.ImageBlobsDir)))
}

// openRegular opens a file that must be a regular one: another program may have put anything there.
func openRegular(path string) (*os.File, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, fs.ErrInvalid)
	}
	return os.Open(path)
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if fi, err := f.Stat(); err == nil && fi.Size() <= limit {
		b.Grow(int(fi.Size()) + bytes.MinRead) // so that it is not copied while it grows
	}
	_, err = b.ReadFrom(io.LimitReader(f, limit+1))
	if err == nil && int64(b.Len()) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b.Bytes(), err
}
