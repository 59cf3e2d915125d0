package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/layer"
)

// A Store keeps images in a folder. It is safe for use by several goroutines, and any number of processes may have
// Stores over the same folder.
type Store struct {
	dir    string // the OCI image layout
	layers *layer.Store
	memo   *layerMemo // of a copy of the Store that one call uses; nil otherwise
}

// partialAge is how long a blob that did not come whole waits for a pull that continues it.
const partialAge = 24 * time.Hour

// Open opens the store in a folder, which it makes if need be, and deletes what was left half made for long.
func Open(dir string) (*Store, error) {
	layers, err := layer.Open(filepath.Join(dir, "layers"))
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	s := &Store{dir: filepath.Join(dir, "images"), layers: layers}
	if err := s.init(); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return s, nil
}

// Dir returns the folder that is the OCI image layout: what skopeo calls oci:<folder>.
func (s *Store) Dir() string { return s.dir }

// Layers returns the store of the extracted layers. What Extract puts there under no image is deleted by Prune.
func (s *Store) Layers() *layer.Store { return s.layers }

func (s *Store) init() error {
	for _, d := range []string{"blobs/sha256", "tmp", "leases"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			return err
		}
	}
	if !exists(s.path(ocispec.ImageLayoutFile)) || !exists(s.path(ocispec.ImageIndexFile)) {
		if err := s.locked(context.Background(), s.writeEmpty); err != nil {
			return err
		}
	}
	s.makeReserve()
	return s.sweep(partialAge)
}

// writeEmpty makes the two files of an empty layout, where they are not there.
func (s *Store) writeEmpty() error {
	if !exists(s.path(ocispec.ImageIndexFile)) {
		if err := s.writeIndex(&ocispec.Index{Manifests: []ocispec.Descriptor{}}); err != nil {
			return err
		}
	}
	if exists(s.path(ocispec.ImageLayoutFile)) {
		return nil
	}
	v := ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}
	return durable.WriteJSON(s.path(ocispec.ImageLayoutFile), v, 0o644)
}

// sweep deletes what was left behind by processes that were killed, partial blobs only when they are older than age.
// It does nothing while another process holds the store's lock.
func (s *Store) sweep(age time.Duration) error {
	l, held, err := durable.TryAcquire(s.path("lock"), true)
	if held || err != nil {
		return err
	}
	defer l.Close()
	return s.sweepLocked(age)
}

func (s *Store) sweepLocked(age time.Duration) error {
	list, err := os.ReadDir(s.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range list {
		base, isLock := strings.CutSuffix(e.Name(), lockSuffix)
		base = strings.TrimSuffix(base, partSuffix)
		part := s.path("tmp", base+partSuffix)
		fi, err := os.Stat(part)
		continued := !strings.HasPrefix(base, newPrefix)
		if err == nil && continued && time.Since(fi.ModTime()) < age || errors.Is(err, fs.ErrNotExist) && !isLock {
			continue
		}
		l, held, err := durable.TryAcquire(s.path("tmp", base+lockSuffix), true)
		if err != nil {
			return err
		}
		if held {
			continue
		}
		if strings.HasPrefix(base, stagingPrefix) { // an archive that was being loaded
			err = os.RemoveAll(s.path("tmp", base))
		}
		if err := errors.Join(err, removeIfThere(part), l.Remove()); err != nil {
			return err
		}
	}
	// durable.WriteFile writes here under the lock, which is ours: what is there now was left behind.
	stray, err := filepath.Glob(s.path(".tmp-*"))
	for _, f := range stray {
		err = errors.Join(err, removeIfThere(f))
	}
	_, err2 := s.leased() // removes the leases of the dead
	return errors.Join(err, err2, s.sweepPushed(context.Background()))
}

// locked runs f while it holds the store's lock.
func (s *Store) locked(ctx context.Context, f func() error) error {
	l, err := durable.Acquire(ctx, s.path("lock"), true)
	if err != nil {
		return err
	}
	return errors.Join(f(), l.Close())
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
