//go:build !linux

package network

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
)

// Options are the optional settings of Open.
type Options struct {
	// Namespace, Table and Pools are Linux's.
	Namespace, Table string
	Pools            []Pool
	UserMode         UserMode
}

// A Store is a folder with networks. On this system there are none.
type Store struct{}

// Open returns errors.ErrUnsupported on this system.
func Open(string, *Options) (*Store, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (s *Store) Close() error { return nil }

// Create returns errors.ErrUnsupported on this system.
func (s *Store) Create(context.Context, string, *CreateOptions) (Network, error) {
	return Network{}, errors.ErrUnsupported
}

// Get returns errors.ErrUnsupported on this system.
func (s *Store) Get(string) (Network, error) { return Network{}, errors.ErrUnsupported }

// List returns errors.ErrUnsupported on this system.
func (s *Store) List() ([]Network, error) { return nil, errors.ErrUnsupported }

// Endpoints returns errors.ErrUnsupported on this system.
func (s *Store) Endpoints(string) ([]Endpoint, error) { return nil, errors.ErrUnsupported }

// Remove returns errors.ErrUnsupported on this system.
func (s *Store) Remove(context.Context, string) error { return errors.ErrUnsupported }

// Prune returns errors.ErrUnsupported on this system.
func (s *Store) Prune(context.Context, *PruneOptions) ([]Network, error) {
	return nil, errors.ErrUnsupported
}

// Check returns errors.ErrUnsupported on this system.
func (s *Store) Check(context.Context) error { return errors.ErrUnsupported }

// Release returns errors.ErrUnsupported on this system.
func (s *Store) Release(context.Context, string) error { return errors.ErrUnsupported }

// Repair returns errors.ErrUnsupported on this system.
func (s *Store) Repair(context.Context) error { return errors.ErrUnsupported }

// Reserve returns errors.ErrUnsupported on this system.
func (s *Store) Reserve([]Port) (*Reservation, error) { return nil, errors.ErrUnsupported }

// A Reservation is ports of the host that are bound.
type Reservation struct{ ports []Port }

// Close does nothing.
func (r *Reservation) Close() {}

// SandboxOptions are the settings of a sandbox.
type SandboxOptions struct {
	// ID is the container's. The others are Linux's.
	ID         string
	Servers    []netip.AddrPort
	NoResolver bool
	Audit      func(Attempt)
	Network    *os.File
	User       *os.File
}

// Sandbox returns errors.ErrUnsupported on this system.
func (s *Store) Sandbox(int, *SandboxOptions) (*Sandbox, error) { return nil, errors.ErrUnsupported }

// A Sandbox is the network namespace of a container.
type Sandbox struct{}

// Attach returns errors.ErrUnsupported on this system.
func (b *Sandbox) Attach(context.Context, string, *EndpointOptions) (Endpoint, error) {
	return Endpoint{}, errors.ErrUnsupported
}

// Publish returns errors.ErrUnsupported on this system.
func (b *Sandbox) Publish(context.Context, string, []Port) (Endpoint, error) {
	return Endpoint{}, errors.ErrUnsupported
}

// Detach returns errors.ErrUnsupported on this system.
func (b *Sandbox) Detach(context.Context, string) error { return errors.ErrUnsupported }

// Serve returns errors.ErrUnsupported on this system.
func (b *Sandbox) Serve(context.Context) error { return errors.ErrUnsupported }

// Endpoints returns errors.ErrUnsupported on this system.
func (b *Sandbox) Endpoints() ([]Endpoint, error) { return nil, errors.ErrUnsupported }

// Forget does nothing.
func (b *Sandbox) Forget() {}

// Close does nothing.
func (b *Sandbox) Close() error { return nil }

// Dial returns errors.ErrUnsupported on this system.
func (b *Sandbox) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// Listen returns errors.ErrUnsupported on this system.
func (b *Sandbox) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

// ListenPacket returns errors.ErrUnsupported on this system.
func (b *Sandbox) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

// Transport returns a transport whose connections cannot be made.
func (b *Sandbox) Transport() *http.Transport { return &http.Transport{DialContext: b.Dial} }
