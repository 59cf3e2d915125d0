package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
)

const (
	partSuffix = ".part"
	lockSuffix = ".lock"
)

// An ingest is a blob on its way into the store, in a file of the tmp folder that the next try continues. Its lock, a
// file beside it, keeps a second process from fetching the same.
type ingest struct {
	s    *Store
	desc ocispec.Descriptor
	lock *durable.Lock
	file *os.File
}

// ingest begins, or continues, to take in a blob; held says that another does so now, when wait is false.
func (s *Store) ingest(ctx context.Context, d ocispec.Descriptor, wait bool) (in *ingest, held bool, err error) {
	base := s.path("tmp", d.Digest.Algorithm().String()+"-"+d.Digest.Encoded())
	in = &ingest{s: s, desc: d}
	if wait {
		in.lock, err = durable.Acquire(ctx, base+lockSuffix, true)
	} else {
		in.lock, held, err = durable.TryAcquire(base+lockSuffix, true)
	}
	if held || err != nil {
		return nil, held, err
	}
	if s.hasBlob(d) { // the other was faster; there is nothing to take in
		return in, false, nil
	}
	in.file, err = os.OpenFile(base+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, false, errors.Join(err, in.lock.Remove())
	}
	return in, false, nil
}

// have returns how many bytes there are from before, and goes to the file's beginning.
func (in *ingest) have() (int64, error) {
	n, err := in.file.Seek(0, io.SeekEnd)
	if err == nil && n > in.desc.Size {
		n, err = 0, in.file.Truncate(0)
	}
	if err == nil {
		_, err = in.file.Seek(0, io.SeekStart)
	}
	return n, err
}

// restart forgets what there is.
func (in *ingest) restart() error {
	err := in.file.Truncate(0)
	if err == nil {
		_, err = in.file.Seek(0, io.SeekStart)
	}
	return err
}

// commit moves the blob, which must be whole and durable, to its place. The name is made durable by syncBlobs.
func (in *ingest) commit() error {
	if in.file == nil {
		return nil
	}
	dst := in.s.blobPath(in.desc.Digest)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	return os.Rename(in.file.Name(), dst)
}

// close ends it. What is there of the blob stays for the next try, unless keep is false.
func (in *ingest) close(keep bool) error {
	var err error
	if in.file != nil {
		if !keep {
			err = removeIfThere(in.file.Name())
		}
		err = errors.Join(err, in.file.Close())
	}
	return errors.Join(err, in.lock.Remove())
}
