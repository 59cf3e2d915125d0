package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Publish publishes ports by a network that the sandbox is attached to and that publishes none of its ports yet, which [Sandbox.Attach]
// would have done: when the network that did is left, say. ctx bounds the waiting for others who change networks. With an error
// nothing is published that was not. The errors are ErrNotFound if it is not connected to the network, ErrExists if that publishes ports,
// ErrInvalid and ErrPortInUse.
func (b *Sandbox) Publish(ctx context.Context, network string, ports []Port) (Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := CheckName(network)
	if b.closed {
		err = os.ErrClosed
	}
	var e *Endpoint
	if err == nil {
		e, err = b.publish(ctx, network, ports)
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("publish ports of %s by network %s: %w", short(b.o.ID), network, err)
	}
	return *e, nil
}

func (b *Sandbox) publish(ctx context.Context, network string, ports []Port) (_ *Endpoint, err error) {
	c, err := b.s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	n, err := b.s.read(network)
	if err != nil {
		return nil, err
	}
	x, err := c.index(network)
	if err != nil {
		return nil, err
	}
	old := x.of(b.o.ID)
	if old == nil {
		return nil, fmt.Errorf("it is not attached: %w", ErrNotFound)
	}
	if len(old.Ports) > 0 {
		return nil, fmt.Errorf("ports are published: %w", ErrExists)
	}
	if err := (&EndpointOptions{Ports: ports}).check(n); err != nil {
		return nil, err
	}
	a := b.attached[network]
	switch {
	case a == nil && b.s.o.UserMode != nil:
		return nil, fmt.Errorf("it is attached by another process: %w", errors.ErrUnsupported)
	case a == nil:
		a = &attachment{}
	}
	r := &Reservation{s: b.s, link: a.link}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if err := r.add(ports); err != nil {
		return nil, err
	}
	e := new(Endpoint)
	*e = *old
	e.Ports = r.list()
	if err := b.s.portsFree(ctx, e.Ports); err != nil {
		return nil, err
	}
	// Until the rules have what the document tells of the change is not over: who finds it half made mends it.
	done, err := b.s.changing(network, x, true)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := b.s.writeEndpoint(x, e); err != nil {
		return nil, err
	}
	if b.s.o.UserMode == nil {
		if err := b.s.translate(c, old, e); err != nil {
			return nil, errors.Join(err, b.s.writeEndpoint(x, old))
		}
	}
	a.e, a.reserved, a.unbound = e, r, false
	b.attached[network] = a
	r.serve(e)
	return e, nil
}

// translate adds the elements that e has and old has not.
func (s *Store) translate(c *change, old, e *Endpoint) error {
	h, err := s.openHost()
	if err != nil {
		return err
	}
	have := endpointElements(old)
	more := slices.DeleteFunc(endpointElements(e), func(one element) bool {
		return slices.ContainsFunc(have, func(o element) bool { return o.set == one.set && string(o.key) == string(one.key) })
	})
	if err := h.hairpin(c, e, true); err != nil {
		return err
	}
	if err := h.rules.change(s, additions(more)); err != nil {
		return errors.Join(err, h.hairpin(c, e, false))
	}
	return nil
}
