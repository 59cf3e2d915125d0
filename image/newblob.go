package image

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
)

// A newBlob is a blob that is made here, whose digest is known when it is whole. Until then it is a file in the tmp
// folder, whose lock keeps it from being swept.
type newBlob struct {
	s    *Store
	lock *durable.Lock
	file *os.File
	buf  *bufio.Writer
	sum  digest.Digester
	size int64
}

const newPrefix = "new-"

func (s *Store) newBlob(ctx context.Context) (*newBlob, error) {
	base := s.path("tmp", newPrefix+rand.Text())
	lock, err := durable.Acquire(ctx, base+lockSuffix, true)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(base+partSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, errors.Join(err, lock.Remove())
	}
	return &newBlob{s: s, lock: lock, file: f, buf: bufio.NewWriterSize(f, 256<<10), sum: digest.Canonical.Digester()}, nil
}

// Write implements io.Writer.
func (b *newBlob) Write(p []byte) (int, error) {
	n, err := b.buf.Write(p)
	b.sum.Hash().Write(p[:n])
	b.size += int64(n)
	return n, err
}

// descriptor ends the writing. The blob is not durable yet.
func (b *newBlob) descriptor(mediaType string) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{MediaType: mediaType, Digest: b.sum.Digest(), Size: b.size}, b.buf.Flush()
}

// commit moves the blob, which must be durable, to its place. The name is made durable by syncBlobs.
func (b *newBlob) commit() error { return b.commitAs(b.sum.Digest()) }

// commitAs is commit where the digest, which was verified, is of another algorithm.
func (b *newBlob) commitAs(d digest.Digest) error {
	dst := b.s.blobPath(d)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	return os.Rename(b.file.Name(), dst)
}

// close deletes what was not committed.
func (b *newBlob) close() error {
	return errors.Join(removeIfThere(b.file.Name()), b.file.Close(), b.lock.Remove())
}
