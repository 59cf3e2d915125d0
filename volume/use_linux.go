package volume

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/internal/durable"
)

// A Use keeps a volume from being removed, by any process, until Close or the end of the process.
type Use struct {
	// Volume is the volume in use.
	Volume Volume
	lock   *durable.Lock
}

// File is the locked file: the use lasts until its last duplicate is closed, in other processes too.
func (u *Use) File() *os.File { return u.lock.File() }

// Close ends the use.
func (u *Use) Close() error { return u.lock.Close() }

// Acquire takes a volume into use. Any number of uses may go on at once. The errors are those of Get.
func (s *Store) Acquire(name string) (*Use, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	// While the store's lock is held nobody removes volumes, and nobody else locks a volume's use exclusively.
	l, err := s.lock(false)
	if err != nil {
		return nil, fmt.Errorf("use volume %s: %w", name, err)
	}
	defer l.Close()
	v, err := s.read(name)
	if err != nil {
		return nil, fmt.Errorf("use volume %s: %w", name, err)
	}
	use, held, err := durable.TryAcquire(s.path(name, useName), false)
	if err == nil && held {
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("use volume %s: %w", name, err)
	}
	return &Use{v, use}, nil
}

// Remove deletes a volume and its content: it is [Store.Unlink] and [Unlinked.Delete]. The errors are ErrInUse and those
// of Get. With another error the volume is gone, and part of its content is deleted by the next Open only.
func (s *Store) Remove(name string) error {
	u, err := s.Unlink(name)
	if err != nil {
		return err
	}
	return u.Delete()
}

// An Unlinked is a volume that is not in the store any more, and whose content still is on disk. What is not deleted by
// [Unlinked.Delete] the next Open deletes.
type Unlinked struct {
	name, path string
	lock       *durable.Lock // of the folder: it says that somebody will delete it
}

// Unlink takes a volume out of the store, durably, without deleting its content yet: that takes little time, whatever
// the volume's size. The errors are ErrInUse and those of Get.
func (s *Store) Unlink(name string) (*Unlinked, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return s.unlink(name, nil)
}

// Delete deletes the content. A second call does nothing.
func (u *Unlinked) Delete() error {
	if u.lock == nil {
		return nil
	}
	err := errors.Join(deleteVolume(u.path), u.lock.Close())
	u.lock = nil
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", u.name, err)
	}
	return nil
}

// errKept says that a volume was not to be removed after all.
var errKept = errors.New("kept")

// unlink moves the volume away while nobody can take it into use, if wanted agrees.
func (s *Store) unlink(name string, wanted func(Volume) bool) (*Unlinked, error) {
	u := &Unlinked{name: name, path: s.path(tmpName, randomName())}
	if err := s.moveAway(u, wanted); err != nil {
		return nil, fmt.Errorf("remove volume %s: %w", name, err)
	}
	return u, nil
}

func (s *Store) moveAway(u *Unlinked, wanted func(Volume) bool) error {
	l, err := s.lock(true)
	if err != nil {
		return err
	}
	defer l.Close()
	v, err := s.read(u.name)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	// A volume whose description is damaged can be removed, though not pruned.
	if wanted != nil && (err != nil || !wanted(v)) {
		return errKept
	}
	use, held, err := durable.TryAcquire(s.path(u.name, useName), true)
	if err != nil {
		return err
	}
	if held {
		return ErrInUse
	}
	defer use.Close()
	if u.lock, held, err = durable.TryAcquireDir(s.path(u.name)); err != nil {
		return err
	}
	if held {
		return ErrInUse
	}
	err = os.Rename(s.path(u.name), u.path)
	if err == nil {
		err = durable.SyncDir(s.docs.Dir)
	}
	if err != nil {
		err = errors.Join(err, u.lock.Close())
	}
	return err
}

// Prune removes the volumes that nobody uses, by default only anonymous ones, and returns those that it removed. ctx is
// looked at between volumes.
func (s *Store) Prune(ctx context.Context, o *PruneOptions) ([]Volume, error) {
	if o == nil {
		o = &PruneOptions{}
	}
	names, err := s.docs.Names()
	if err != nil {
		return nil, fmt.Errorf("prune volumes: %w", err)
	}
	var removed []Volume
	var errs []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return removed, fmt.Errorf("prune volumes: %w", errors.Join(append(errs, err)...))
		}
		var chosen Volume
		u, err := s.unlink(name, func(v Volume) bool {
			chosen = v
			return (v.Anonymous || o.All) && (o.Keep == nil || !o.Keep(v))
		})
		if err == nil {
			err = u.Delete()
		}
		switch {
		case err == nil:
			removed = append(removed, chosen)
		case errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) || errors.Is(err, errKept):
		default:
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return removed, fmt.Errorf("prune volumes: %w", errors.Join(errs...))
	}
	return removed, nil
}
