package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/network"
)

// reserve binds the ports, before anything else is made.
func (r *Run) reserve() (err error) {
	if r.reserved, err = r.e.reserve(r.record); err != nil || !r.supervised {
		return err
	}
	// They are free. The supervisor binds them, in a moment.
	r.reserved.Close()
	r.reserved = nil
	return nil
}

func (e *Engine) reserve(rec *Container) (*network.Reservation, error) {
	if len(rec.Ports) == 0 {
		return nil, nil
	}
	reserved, err := e.networks.Reserve(rec.Ports)
	if errors.Is(err, network.ErrPortInUse) {
		return nil, &Error{Kind: Conflict, Message: "driver failed programming external connectivity", Err: err}
	}
	return reserved, err
}

// connect connects the process that waits to be executed, and writes down its addresses.
func (r *Run) connect(ctx context.Context, pid int) (err error) {
	rec := r.record
	if len(rec.Networks) == 0 {
		return nil
	}
	defer func() {
		if err == nil {
			for _, at := range rec.Networks {
				r.e.noteConnection("connect", rec.ID, at.Network)
			}
		}
	}()
	ns, user := r.c.NetworkFiles()
	if r.supervised {
		if rec.Endpoints, err = r.e.connectSupervised(ctx, rec, pid, ns, user); err != nil {
			return err
		}
		return rec.writeHosts(r.e.path(rec.ID))
	}
	o := rec.sandboxOptions()
	o.NoResolver, o.Network, o.User = r.c.Keep != nil, ns, user
	if o.Audit, r.egressLog, err = r.e.audit(rec, r.audited); err != nil {
		return err
	}
	reserved := r.reserved
	r.reserved = nil
	if r.sandbox, rec.Endpoints, err = r.e.attach(ctx, rec, pid, o, reserved); err != nil {
		return err
	}
	r.e.keepSandbox(rec.ID, r.sandbox)
	return rec.writeHosts(r.e.path(rec.ID))
}

// sandboxOptions are those that the container's document has.
func (rec *Container) sandboxOptions() *network.SandboxOptions {
	o := &network.SandboxOptions{ID: rec.ID}
	for _, a := range rec.Config.DNS {
		o.Servers = append(o.Servers, netip.AddrPortFrom(a, 53))
	}
	return o
}

// publisher is the index of the network that publishes a container's ports: the first that can, or else the first, whose error is the
// container's.
func (e *Engine) publisher(ctx context.Context, rec *Container) int {
	return max(0, slices.IndexFunc(rec.Networks, func(at Connection) bool { return e.publishes(ctx, at.Network) }))
}

// publishes tells whether a network can publish ports.
func (e *Engine) publishes(ctx context.Context, name string) bool {
	n, err := e.network(ctx, name)
	return err == nil && n.Driver == network.Bridge && !n.Internal
}

// attach attaches a process's network namespace to the container's networks, one of which publishes the ports. With an error nothing is
// attached, and no port is bound.
func (e *Engine) attach(ctx context.Context, rec *Container, pid int, o *network.SandboxOptions, reserved *network.Reservation,
) (_ *network.Sandbox, all []network.Endpoint, err error) {
	box, err := e.networks.Sandbox(pid, o)
	if err != nil {
		reserved.Close()
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			reserved.Close()
			err = errors.Join(err, box.Close())
		}
	}()
	publisher := 0
	if reserved != nil && len(rec.Networks) > 1 {
		publisher = e.publisher(ctx, rec)
	}
	for i := range rec.Networks {
		at := &rec.Networks[i]
		options, err := rec.options(at)
		if err != nil {
			return nil, nil, err
		}
		if i == publisher {
			options.Reserved, reserved = reserved, nil
		}
		if _, err := e.network(ctx, at.Network); err != nil {
			options.Reserved.Close()
			return nil, nil, err
		}
		end, err := box.Attach(ctx, at.Network, options)
		if err != nil {
			return nil, nil, adviseOn(err, rec, at)
		}
		all = append(all, end)
	}
	return box, all, e.nameServers(rec, box)
}

// adviseOn says what can be done about an error of Attach.
func adviseOn(err error, rec *Container, at *Connection) error {
	switch {
	case errors.Is(err, network.ErrNotFound):
		return notFound("network %s not found", at.Network)
	case errors.Is(err, fs.ErrPermission) && strings.Contains(err.Error(), tunDevice):
		return fmt.Errorf("%w (%s; the networks \"none\" and \"host\" need nothing of that)", err, openTun)
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), tunDevice):
		return fmt.Errorf("%w (%s; the networks \"none\" and \"host\" need nothing of that)", err, haveTun)
	case rec.Config.Network == defaultNetwork:
		return fmt.Errorf("%w (the network \"none\" needs nothing of that)", err)
	}
	return err
}

func notConnected(c *Container, name string) error {
	return notFound("container %s is not connected to network %s", c.Name, name)
}

// sandboxOf returns the sandbox of a container that this program runs in the foreground, or nil.
func (e *Engine) sandboxOf(id string) *network.Sandbox {
	e.sandboxesMu.Lock()
	defer e.sandboxesMu.Unlock()
	return e.sandboxes[id]
}

// keepSandbox notes a container's sandbox, or with nil that it has none.
func (e *Engine) keepSandbox(id string, box *network.Sandbox) {
	e.sandboxesMu.Lock()
	defer e.sandboxesMu.Unlock()
	if e.sandboxes == nil {
		e.sandboxes = make(map[string]*network.Sandbox)
	}
	e.sandboxes[id] = box
	if box == nil {
		delete(e.sandboxes, id)
	}
}

// aloneFiles writes the resolv.conf of a container that outlives this program, and with it the resolver: the host's servers.
func (r *Run) aloneFiles() error {
	rec := r.record
	if len(rec.Networks) == 0 || r.supervised {
		return nil
	}
	return writePlain(r.e.path(rec.ID, "resolv.conf"), rec.resolvConfAlone())
}

// forget lets go of the networks of a container that runs on without a supervisor. Its ports are translated still, but by the host's
// loopback they are not reached, and nobody answers for names.
func (r *Run) forget() {
	if r.sandbox != nil {
		r.e.keepSandbox(r.record.ID, nil)
		r.sandbox.Forget()
		r.sandbox = nil
	}
}

// disconnect gives back what connect and reserve took.
func (r *Run) disconnect(ctx context.Context) error {
	if r.reserved != nil {
		r.reserved.Close()
		r.reserved = nil
	}
	r.record.Endpoints = nil
	var err error
	if r.supervised {
		err = r.e.letGo(ctx, r.record.ID)
	}
	if r.sandbox != nil {
		r.e.keepSandbox(r.record.ID, nil)
		err = r.sandbox.Close()
		r.sandbox = nil
	}
	return errors.Join(err, closeLog(&r.egressLog))
}

// closeLog closes the log of an allow-list, if there is one.
func closeLog(f **os.File) error {
	if *f == nil {
		return nil
	}
	err := (*f).Close()
	*f = nil
	return err
}
