package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Serve takes over what is attached under the sandbox's ID and a process served that is gone: in user mode its interfaces, made anew with
// the addresses that they had; otherwise its names, its record of what is tried, and the ports that reach it by this process. What this value
// serves already it leaves as it is. ctx bounds it. With an error what could be served is. It is os.ErrClosed after
// Close and Forget. Ports that were somebody else's are tried again by the next call.
func (b *Sandbox) Serve(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("serve %s: %w", short(b.o.ID), os.ErrClosed)
	}
	c, err := b.s.lock(ctx)
	if err != nil {
		return fmt.Errorf("serve %s: %w", short(b.o.ID), err)
	}
	defer c.Close()
	all, err := b.Endpoints()
	errs := []error{err}
	for _, e := range all {
		a, err := b.attached[e.Network], error(nil)
		switch {
		case a == nil:
			err = b.resume(ctx, &e)
		case a.unbound:
			err = b.bindAgain(a)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("serve %s on network %s: %w", short(b.o.ID), e.Network, err))
		}
	}
	b.forgetView()
	return errors.Join(errs...)
}

// resume serves an endpoint that is there. The caller holds the store's lock.
func (b *Sandbox) resume(ctx context.Context, e *Endpoint) (err error) {
	n, err := b.s.read(e.Network)
	if err != nil {
		return err
	}
	a := &attachment{e: e, reserved: &Reservation{s: b.s}}
	if b.s.o.UserMode != nil {
		a.link, err = b.rejoinUser(ctx, n, e)
	} else if err = b.serveNames(); err == nil {
		err = b.watch(e)
	}
	if err != nil {
		return err
	}
	b.attached[e.Network] = a
	return b.bindAgain(a)
}

// bindAgain binds the ports of an endpoint that is there, all or none.
func (b *Sandbox) bindAgain(a *attachment) error {
	a.unbound = true
	r := &Reservation{s: b.s, link: a.link}
	if err := r.add(a.e.Ports); err != nil {
		r.Close()
		return err
	}
	a.reserved, a.unbound = r, false
	r.serve(a.e)
	return nil
}

// lingering is how long the device of a killed process may still be there.
const lingering = 5 * time.Second

func (b *Sandbox) rejoinUser(ctx context.Context, n *Network, e *Endpoint) (UserLink, error) {
	ctx, cancel := context.WithTimeout(ctx, lingering)
	defer cancel()
	for {
		link, err := b.joinUser(ctx, n, &EndpointOptions{Interface: e.Interface, GatewayPriority: e.GatewayPriority}, e)
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) {
			return link, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}
