package network

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/internal/durable"
)

// Remove deletes a network. The errors are ErrInUse while something is attached, and those of Get. ctx bounds the waiting
// for others.
func (s *Store) Remove(ctx context.Context, name string) error {
	err := CheckName(name)
	if err == nil {
		err = s.remove(ctx, name, nil)
	}
	if err != nil {
		return fmt.Errorf("remove network %s: %w", name, err)
	}
	return nil
}

// errKept says that a network was not to be removed after all.
var errKept = errors.New("kept")

func (s *Store) remove(ctx context.Context, name string, wanted func(Network) bool) error {
	c, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := s.read(name)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	// One whose description is damaged can be removed, though not pruned.
	if wanted != nil && (err != nil || !wanted(*n)) {
		return errKept
	}
	x, err := s.index(name)
	if err != nil {
		return err
	}
	if x.size() > 0 {
		if err := s.reclaim(ctx); err != nil {
			return err
		}
	}
	if x.size() > 0 {
		return fmt.Errorf("it has %d endpoints and %w", x.size(), ErrInUse)
	}
	if n != nil {
		if err := s.removeLeft(n); err != nil {
			return err
		}
	}
	tmp := s.path(tmpName, randomID(16))
	if err := os.Rename(s.path(name), tmp); err != nil {
		return err
	}
	s.indexMu.Lock()
	delete(s.indexes, name)
	s.indexMu.Unlock()
	return errors.Join(durable.SyncDir(s.docs.Dir), os.RemoveAll(tmp))
}

// removeLeft removes the bridges of a network that nothing is attached to: somebody was killed who was about to, and they would be nobody's
// once the network is gone. The caller holds the store's lock.
func (s *Store) removeLeft(n *Network) error {
	if s.o.UserMode != nil || n.Driver != Bridge {
		return nil
	}
	links, err := s.ourLinks()
	if err != nil {
		return err
	}
	left := links[n.Interface]
	for name := range links {
		left = left || leafOf(n, name) != 0
	}
	if !left {
		return nil
	}
	h, err := s.openHost()
	if err != nil {
		return err
	}
	return s.reclaimNetwork(h, n, links)
}

// Prune removes the networks that nothing is attached to, and returns those that it removed. ctx is looked at between
// networks. o may be nil.
func (s *Store) Prune(ctx context.Context, o *PruneOptions) ([]Network, error) {
	if o == nil {
		o = &PruneOptions{}
	}
	names, err := s.docs.Names()
	if err != nil {
		return nil, fmt.Errorf("prune networks: %w", err)
	}
	var removed []Network
	var errs []error
	for _, name := range names {
		var chosen Network
		err := s.remove(ctx, name, func(n Network) bool {
			chosen = n
			return o.Keep == nil || !o.Keep(n)
		})
		switch {
		case err == nil:
			removed = append(removed, chosen)
		case errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) || errors.Is(err, errKept):
		case ctx.Err() != nil:
			return removed, fmt.Errorf("prune networks: %w", errors.Join(append(errs, err)...))
		default:
			errs = append(errs, fmt.Errorf("network %s: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return removed, fmt.Errorf("prune networks: %w", errors.Join(errs...))
	}
	return removed, nil
}
