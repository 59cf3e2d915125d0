package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SandboxOptions are the settings of a sandbox.
type SandboxOptions struct {
	// ID is the container's, 1 to 128 of [a-zA-Z0-9_.-]. It is required.
	ID string
	// Servers answer the questions for names that are no container's. Nil means those of the host's /etc/resolv.conf, three at
	// most, as they are when a question comes. They are asked from the host, and so may listen on its loopback.
	Servers []netip.AddrPort
	// NoResolver leaves out the resolver at 127.0.0.11: for a sandbox that another process serves.
	NoResolver bool
	// Network and User, if they are not nil, are the network namespace and the user namespace that owns it, which are read from
	// the process's /proc/PID/ns otherwise. They may be closed when Sandbox has returned.
	Network, User *os.File
	// Audit, if it is not nil, is told what the sandbox tries to connect to where it has an [Egress], allowed or not, by networks that
	// this value attached it to. It is called by one goroutine at a time, within a second, and should not wait.
	Audit func(Attempt)
}

// A Sandbox is the network namespace of a container, and what is attached to it. Its methods may be called by several
// goroutines.
type Sandbox struct {
	s     *Store
	o     SandboxOptions
	ns    *os.File
	user  *os.File // in user mode, what owns ns
	owner owner

	mu       sync.Mutex
	attached map[string]*attachment // by network
	closed   bool
	resolver *resolver

	viewMu sync.Mutex
	seen   *view

	auditMu sync.Mutex

	// In user mode:
	joined      UserLink // by the endpoint that is being attached
	userMetrics []int
	learned     learnedNames
}

// An attachment is an endpoint that this process attached, with the sockets of its ports.
type attachment struct {
	e        *Endpoint
	reserved *Reservation
	link     UserLink // nil but in user mode
	unbound  bool     // the ports were somebody else's when Serve came to them
}

// Sandbox returns the sandbox of the network namespace that process pid is in. Endpoints that have been attached under the
// same ID, by this process or another, are its own.
func (s *Store) Sandbox(pid int, o *SandboxOptions) (*Sandbox, error) {
	if o == nil || CheckName(o.ID) != nil {
		return nil, fmt.Errorf("sandbox: %w", invalid("ID", "it is not 1 to 128 of [a-zA-Z0-9_.-]"))
	}
	ns, err := namespaceFile(o.Network, pid, "net")
	if err != nil {
		return nil, fmt.Errorf("sandbox %s: %w", o.ID, err)
	}
	start, err := startTime(pid)
	var user *os.File
	if err == nil && s.o.UserMode != nil {
		user, err = namespaceFile(o.User, pid, "user")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox %s: %w", o.ID, err), ns.Close())
	}
	return &Sandbox{
		s: s, o: *o, ns: ns, user: user, attached: make(map[string]*attachment), owner: owner{PID: pid, Start: start, Boot: s.boot},
	}, nil
}

// Attach connects the sandbox to a network: it gets an interface with addresses there, and its ports are published. ctx bounds
// the waiting for others who change networks. With an error nothing is attached, and the ports are bound no more,
// o.Reserved's neither. The errors are those of Get, ErrInvalid, ErrInUse, ErrExhausted and ErrPortInUse. o may be nil.
func (b *Sandbox) Attach(ctx context.Context, network string, o *EndpointOptions) (_ Endpoint, err error) {
	if o == nil {
		o = &EndpointOptions{}
	}
	reserved := cmp.Or(o.Reserved, &Reservation{s: b.s})
	defer func() {
		if err != nil {
			reserved.Close()
			err = fmt.Errorf("attach %s to network %s: %w", short(b.o.ID), network, err)
		}
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return Endpoint{}, os.ErrClosed
	}
	if err := CheckName(network); err != nil {
		return Endpoint{}, err
	}
	c, err := b.s.lock(ctx)
	if err != nil {
		return Endpoint{}, err
	}
	defer c.Close()
	n, err := b.s.read(network)
	if err != nil {
		return Endpoint{}, err
	}
	if err := o.check(n); err != nil {
		return Endpoint{}, err
	}
	if err := reserved.add(o.Ports); err != nil {
		return Endpoint{}, err
	}
	e, err := b.attach(ctx, c, n, o, reserved)
	if err != nil {
		b.silence()
		return Endpoint{}, err
	}
	b.forgetView()
	if b.s.o.UserMode == nil {
		err = b.serveNames()
		if err == nil {
			err = b.watch(e)
		}
	}
	if err != nil {
		return Endpoint{}, errors.Join(err, b.undo(n, e))
	}
	reserved.link = b.joined
	reserved.serve(e)
	b.attached[network] = &attachment{e: e, reserved: reserved, link: b.joined}
	b.joined = nil
	return *e, nil
}

// undo takes back an endpoint that was just attached. The caller holds the store's lock.
func (b *Sandbox) undo(n *Network, e *Endpoint) error {
	x, err := b.s.index(n.Name)
	if err != nil {
		return err
	}
	h, err := b.s.openHost()
	if err != nil {
		return err
	}
	if e.HostInterface == "" {
		err = b.removeInterface(e)
	}
	return errors.Join(err, b.s.release(h, n, x, e))
}

func short(id string) string { return id[:min(12, len(id))] }

// Detach disconnects the sandbox from a network. The error is ErrNotFound if it is not connected to it.
func (b *Sandbox) Detach(ctx context.Context, network string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := CheckName(network)
	if err == nil {
		err = b.detach(ctx, network)
	}
	if err != nil {
		return fmt.Errorf("detach %s from network %s: %w", short(b.o.ID), network, err)
	}
	return nil
}

func (b *Sandbox) detach(ctx context.Context, network string) error {
	c, err := b.s.lock(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if a := b.attached[network]; a != nil {
		a.reserved.Close()
		if err := a.closeLink(); err != nil {
			return err
		}
		delete(b.attached, network)
	}
	n, err := b.s.read(network)
	if err != nil {
		return err
	}
	x, err := c.index(network)
	if err != nil {
		return err
	}
	e := x.of(b.o.ID)
	if e == nil {
		return fmt.Errorf("it is not attached: %w", ErrNotFound)
	}
	if b.s.o.UserMode != nil { // the interface went with the link, whoever had it
		b.forgetView()
		return c.s.dropEndpoint(x, e)
	}
	h, err := b.s.openHost()
	if err != nil {
		return err
	}
	if e.HostInterface == "" { // the sandbox's end is all there is
		if err := b.removeInterface(e); err != nil {
			return err
		}
		without := *e
		without.Owner.NetNS, e = "", &without // nobody else has it
	}
	b.forgetView()
	return errors.Join(c.s.unwatch(e), c.s.release(h, n, x, e))
}

func (b *Sandbox) removeInterface(e *Endpoint) error {
	return inside(b.ns, func() error {
		l, err := netlink.LinkByName(e.Interface)
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil
		}
		if err == nil {
			err = netlink.LinkDel(l)
		}
		if err != nil {
			return fmt.Errorf("remove interface %s: %w", e.Interface, err)
		}
		return nil
	})
}

// of returns the endpoint of a sandbox, or nil.
func (x *index) of(sandbox string) *Endpoint {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.boxes[sandbox]
}

// Endpoints returns what is attached to the sandbox, by whomever, in the order of attaching.
func (b *Sandbox) Endpoints() ([]Endpoint, error) { return b.s.endpointsOf(b.o.ID) }

// Forget gives back what this value holds, and leaves attached what is, by whomever: for a sandbox that another process
// serves. Ports that this value published are published no more.
func (b *Sandbox) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	if b.resolver != nil {
		b.resolver.close()
	}
	for _, a := range b.attached {
		a.reserved.Close()
		_ = a.closeLink()
		b.s.mu.Lock()
		_ = b.s.unwatch(a.e)
		b.s.mu.Unlock()
	}
	_ = b.closeFiles()
}

// Close detaches the sandbox from the networks that it was attached to by this value, and by others under its ID, and
// gives back what it holds. The container may have ended before.
func (b *Sandbox) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.resolver != nil {
		b.resolver.close()
	}
	var errs []error
	networks := slices.Sorted(maps.Keys(b.attached))
	all, err := b.Endpoints()
	if err != nil {
		errs = append(errs, err)
	}
	for _, e := range all {
		if b.attached[e.Network] == nil {
			networks = append(networks, e.Network)
		}
	}
	for _, network := range networks {
		if err := b.detach(context.Background(), network); err != nil && !errors.Is(err, ErrNotFound) {
			errs = append(errs, fmt.Errorf("detach %s from network %s: %w", short(b.o.ID), network, err))
		}
	}
	return errors.Join(append(errs, b.closeFiles())...)
}

func (b *Sandbox) closeFiles() error {
	err := b.ns.Close()
	if b.user != nil {
		err = errors.Join(err, b.user.Close())
	}
	return err
}

// namespaceFile opens a namespace of the process, or returns another descriptor of the given one.
func namespaceFile(given *os.File, pid int, kind string) (*os.File, error) {
	if given == nil {
		return os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	}
	fd, err := unix.FcntlInt(given.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), given.Name()), nil
}
