package image

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// A lease keeps blobs and layers from being deleted for as long as the process lives that took it, whether names lead
// to them or not. It is a file with their digests, locked by its owner. A lease is taken, and deletion decides, under
// the store's lock: so what is found there after the lease was taken stays.
type lease struct {
	lock *durable.Lock
}

type leaseFile struct {
	Blobs  []digest.Digest `json:"blobs"`
	Layers []digest.Digest `json:"layers"`
	Images []digest.Digest `json:"images,omitempty"` // held on behalf of a user, by ID
}

const maxLease = 1 << 20

func (s *Store) lease(ctx context.Context, f leaseFile) (l *lease, err error) {
	err = s.locked(ctx, func() error {
		l, err = s.leaseLocked(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take a lease: %w", err)
	}
	return l, nil
}

func (s *Store) leaseLocked(f leaseFile) (*lease, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if len(b) > maxLease {
		return nil, fmt.Errorf("%w: more than %d blobs and layers at once", ErrInvalid, maxLease/80)
	}
	path := s.path("leases", rand.Text())
	lock, err := durable.Acquire(context.Background(), path, true)
	if err != nil {
		return nil, err
	}
	// In place: a rename would leave the lock behind. Nobody reads it but under the store's lock.
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, errors.Join(err, lock.Remove())
	}
	return &lease{lock}, nil
}

func (l *lease) release() error { return l.lock.Remove() }

// leases are the digests that living processes use now.
type leases struct{ blobs, layers, images map[digest.Digest]bool }

// newLeases starts with the blobs that were pushed here and whose manifests have not come yet.
func (s *Store) newLeases() (leases, error) {
	u := leases{map[digest.Digest]bool{}, map[digest.Digest]bool{}, map[digest.Digest]bool{}}
	pushed, err := s.pushed()
	for _, p := range pushed {
		if time.Since(p.since) < partialAge {
			u.blobs[p.Digest] = true
		}
	}
	return u, err
}

// leased reads the leases, and removes those of processes that are gone; the store's lock must be held.
func (s *Store) leased() (leases, error) {
	u, err := s.newLeases()
	if err != nil {
		return u, err
	}
	list, err := os.ReadDir(s.path("leases"))
	if err != nil {
		return u, err
	}
	for _, e := range list {
		path := s.path("leases", e.Name())
		l, held, err := durable.TryAcquire(path, true)
		if err != nil {
			return u, err
		}
		if !held {
			if err := l.Remove(); err != nil {
				return u, err
			}
			continue
		}
		b, err := readBounded(path, maxLease)
		if err != nil {
			if os.IsNotExist(err) {
				continue // given back just now
			}
			return u, err
		}
		if err := u.add(b); err != nil {
			return u, fmt.Errorf("lease %s: %w", path, err)
		}
	}
	return u, nil
}

// leasedUnlocked reads the leases without the store's lock, and so takes those of the dead for leases, too.
func (s *Store) leasedUnlocked() (leases, error) {
	u, err := s.newLeases()
	if err != nil {
		return u, err
	}
	list, err := os.ReadDir(s.path("leases"))
	if err != nil {
		return u, err
	}
	for _, e := range list {
		b, err := readBounded(s.path("leases", e.Name()), maxLease)
		if err != nil {
			continue // given back just now
		}
		_ = u.add(b) // half written: likewise
	}
	return u, nil
}

// add takes in a lease's file.
func (u *leases) add(b []byte) error {
	var f leaseFile
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	for m, d := range map[*map[digest.Digest]bool][]digest.Digest{
		&u.blobs: f.Blobs, &u.layers: f.Layers, &u.images: f.Images,
	} {
		for _, x := range d {
			(*m)[x] = true
		}
	}
	return nil
}

// Hold keeps an image's layers and blobs from being deleted until release is called or the process ends, whichever
// comes first. While an image is held, Remove refuses to delete it; its names may go. It returns ErrNotFound when the
// image, or a layer of it, has been deleted since img was got.
//
// What must be kept for longer than the process lives, such as the layers below a container that runs on without it, is
// for RemoveOptions.InUse and PruneOptions.InUse.
func (s *Store) Hold(ctx context.Context, img *Image) (release func() error, err error) {
	f := leaseFile{Images: []digest.Digest{img.ID}, Blobs: []digest.Digest{img.Digest, img.Manifest, img.ID}}
	for _, l := range img.Layers {
		f.Layers = append(f.Layers, l.DiffID)
	}
	for _, d := range img.blobs {
		f.Blobs = append(f.Blobs, d.Digest)
	}
	l, err := s.lease(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("hold %s: %w", img.ID, err)
	}
	// Its layers alone do not tell: another image may have them.
	manifest, err := s.OpenBlob(img.Manifest)
	if err == nil {
		_ = manifest.Close()
	}
	for _, y := range img.Layers {
		if err == nil {
			_, err = s.layers.Get(y.DiffID)
		}
	}
	if err != nil {
		err = fmt.Errorf("hold %s: %w: %w", img.ID, ErrNotFound, err)
		return nil, errors.Join(err, l.release())
	}
	s.used(img.Manifest)
	return l.release, nil
}
