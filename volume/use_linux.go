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

// Remove deletes a volume and its content. The errors are ErrInUse and those of Get. With another error the volume is
// gone, and part of its content is deleted by the next Open only.
func (s *Store) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := s.remove(name, nil); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// errKept says that a volume was not to be removed after all.
var errKept = errors.New("kept")

// remove moves the volume away while nobody can take it into use, if wanted agrees, and then deletes it.
func (s *Store) remove(name string, wanted func(Volume) bool) error {
	tmp := s.path(tmpName, randomName())
	if err := s.moveAway(name, tmp, wanted); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

func (s *Store) moveAway(name, to string, wanted func(Volume) bool) error {
	l, err := s.lock(true)
	if err != nil {
		return err
	}
	defer l.Close()
	v, err := s.read(name)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	// A volume whose description is damaged can be removed, though not pruned.
	if wanted != nil && (err != nil || !wanted(v)) {
		return errKept
	}
	use, held, err := durable.TryAcquire(s.path(name, useName), true)
	if err != nil {
		return err
	}
	if held {
		return ErrInUse
	}
	defer use.Close()
	if err := os.Rename(s.path(name), to); err != nil {
		return err
	}
	return durable.SyncDir(s.dir)
}

// Prune removes the volumes that nobody uses, by default only anonymous ones, and returns those that it removed. ctx is
// looked at between volumes.
func (s *Store) Prune(ctx context.Context, o *PruneOptions) ([]Volume, error) {
	if o == nil {
		o = &PruneOptions{}
	}
	names, err := s.names()
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
		err := s.remove(name, func(v Volume) bool {
			chosen = v
			return (v.Anonymous || o.All) && (o.Keep == nil || !o.Keep(v))
		})
		switch {
		case err == nil:
			removed = append(removed, chosen)
		case errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) || errors.Is(err, errKept):
		default:
			errs = append(errs, fmt.Errorf("volume %s: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return removed, fmt.Errorf("prune volumes: %w", errors.Join(errs...))
	}
	return removed, nil
}
