package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
)

// maxSweep bounds what one Open deletes, and the descriptors that it takes.
const maxSweep = 256

// A temp is a folder below a store's tmp, with a lock (flock) that lasts as long as its maker: what is not locked was
// left by a process that was killed, and may be deleted by anybody.
type temp struct {
	path string
	lock *os.File // the folder itself
}

// newTemp makes a folder in the tmp of the store at dir. ctx bounds the wait for a sweep of another process.
func newTemp(ctx context.Context, dir string) (*temp, error) {
	// The store's lock is held until the folder has one of its own.
	l, err := durable.Acquire(ctx, filepath.Join(dir, lockName), false)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	path, err := os.MkdirTemp(filepath.Join(dir, tempName), "")
	if err != nil {
		return nil, hint(err, "it takes root")
	}
	f, err := lockFolder(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &temp{path, f}, nil
}

// lockFolder locks a folder; unix.EWOULDBLOCK says that another has it.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, openDir, 0)
	if err != nil {
		return nil, err
	}
	if err := retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// remove deletes the folder. A second call does nothing.
func (t *temp) remove() error {
	if t.lock == nil {
		return nil
	}
	// Half a layer is not to be taken for a whole one.
	err := os.Remove(filepath.Join(t.path, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, namespace.RemoveAll(t.path), t.lock.Close())
	t.lock = nil
	return err
}

// abandoned takes what is in tmp and belongs to no running process.
func (s *Store) abandoned() ([]*temp, error) {
	l, held, err := durable.TryAcquire(filepath.Join(s.dir, lockName), true)
	if err != nil || held { // held: somebody is making a folder, or sweeps
		return nil, err
	}
	left, err := abandoned(filepath.Join(s.dir, tempName))
	return left, errors.Join(err, l.Close())
}

func abandoned(dir string) (left []*temp, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if len(left) == maxSweep {
			break
		}
		path := filepath.Join(dir, name)
		f, err := lockFolder(path)
		switch {
		case err == nil:
			left = append(left, &temp{path, f})
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			err = os.Remove(path) // no folder: nothing that a store makes
			fallthrough
		default:
			if err != nil {
				return left, err
			}
		}
	}
	return left, nil
}
