package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Release detaches the sandbox with the ID, whose container has ended, from all networks, whichever process attached it: for who notices
// an end that the one who attached it did not live to see. Where nothing is attached it does nothing. ctx bounds the waiting for others.
func (s *Store) Release(ctx context.Context, id string) error {
	if CheckName(id) != nil {
		return fmt.Errorf("release sandbox: %w", invalid("ID", "it is not 1 to 128 of [a-zA-Z0-9_.-]"))
	}
	err := s.releaseAll(ctx, id)
	if err != nil {
		return fmt.Errorf("release sandbox %s: %w", short(id), err)
	}
	return nil
}

func (s *Store) releaseAll(ctx context.Context, id string) error {
	some, err := s.endpointsOf(id)
	if err != nil || len(some) == 0 {
		return err
	}
	c, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var h *host
	if s.o.UserMode == nil {
		if h, err = s.openHost(); err != nil {
			return err
		}
	}
	var errs []error
	for _, e := range some {
		if err := c.releaseOne(h, &e); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("network %s: %w", e.Network, err))
		}
	}
	return errors.Join(errs...)
}

// releaseOne takes an endpoint back, unless somebody else has. The caller holds the store's lock.
func (c *change) releaseOne(h *host, e *Endpoint) error {
	s := c.s
	n, err := s.read(e.Network)
	if err != nil {
		return err
	}
	x, err := c.index(n.Name)
	if err != nil {
		return err
	}
	if now := x.of(e.Sandbox); now == nil || now.ID != e.ID {
		return nil
	}
	return errors.Join(s.unwatch(e), s.release(h, n, x, e))
}

// endpointsOf returns what is attached to a sandbox, by whomever, in the order of attaching.
func (s *Store) endpointsOf(id string) ([]Endpoint, error) {
	names, err := s.docs.Names()
	if err != nil {
		return nil, err
	}
	var all []Endpoint
	for _, name := range names {
		x, err := s.index(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", name, err)
		}
		if e := x.of(id); e != nil {
			all = append(all, *e)
		}
	}
	slices.SortStableFunc(all, func(a, b Endpoint) int { return a.Created.Compare(b.Created) })
	return all, nil
}
