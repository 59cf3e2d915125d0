//go:build !linux

package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

var errOtherSystem = fmt.Errorf("control groups on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// A Manager creates and opens groups. There is none on this system.
type Manager struct{}

// A Group is a group of processes. There is none on this system.
type Group struct{}

// Detect returns an error that satisfies errors.ErrUnsupported, as all calls do on this system.
func Detect() (*Manager, error) { return nil, errOtherSystem }

// Mode returns 0.
func (m *Manager) Mode() Mode { return 0 }

// Controllers returns none.
func (m *Manager) Controllers() []string { return nil }

// Hierarchies returns none.
func (m *Manager) Hierarchies() []Hierarchy { return nil }

// Close does nothing.
func (m *Manager) Close() error { return nil }

// Create is not supported on this system.
func (m *Manager) Create(path string, r *Resources) (*Group, error) { return nil, errOtherSystem }

// Complete returns an error that satisfies errors.ErrUnsupported.
func (m *Manager) Complete(path string) (*Group, error) { return nil, errOtherSystem }

// Open is not supported on this system.
func (m *Manager) Open(path string) (*Group, error) { return nil, errOtherSystem }

// OpenPaths is not supported on this system.
func (m *Manager) OpenPaths(paths []string) (*Group, error) { return nil, errOtherSystem }

// Directories is not supported on this system.
func (m *Manager) Directories(path string) ([]string, error) { return nil, errOtherSystem }

// List is not supported on this system.
func (m *Manager) List(path string) ([]string, error) { return nil, errOtherSystem }

// Evacuate is not supported on this system.
func (m *Manager) Evacuate(name string) error { return errOtherSystem }

// Name returns "".
func (g *Group) Name() string { return "" }

// Paths returns none.
func (g *Group) Paths() []string { return nil }

// Dir returns false.
func (g *Group) Dir() (f *os.File, ok bool) { return nil, false }

// Tasks is not supported on this system.
func (g *Group) Tasks() ([]*os.File, error) { return nil, errOtherSystem }

// Entry is not supported on this system.
func (g *Group) Entry() (*os.File, []*os.File, error) { return nil, nil, errOtherSystem }

// CloseTasks does nothing.
func (g *Group) CloseTasks() {}

// Add is not supported on this system.
func (g *Group) Add(pid int) error { return errOtherSystem }

// Update is not supported on this system.
func (g *Group) Update(r *Resources) error { return errOtherSystem }

// Pids is not supported on this system.
func (g *Group) Pids() ([]int, error) { return nil, errOtherSystem }

// Freeze is not supported on this system.
func (g *Group) Freeze(ctx context.Context) error { return errOtherSystem }

// Thaw is not supported on this system.
func (g *Group) Thaw() error { return errOtherSystem }

// Frozen is not supported on this system.
func (g *Group) Frozen() (bool, error) { return false, errOtherSystem }

// Signal is not supported on this system.
func (g *Group) Signal(sig syscall.Signal) error { return errOtherSystem }

// ByController returns none.
func (g *Group) ByController() map[string]string { return nil }

// Kill is not supported on this system.
func (g *Group) Kill(ctx context.Context) error { return errOtherSystem }

// Stats is not supported on this system.
func (g *Group) Stats() (*Stats, error) { return nil, errOtherSystem }

// Totals is not supported on this system.
func (g *Group) Totals() (*Stats, error) { return nil, errOtherSystem }

// OOMFile is not supported on this system.
func (g *Group) OOMFile() (*os.File, error) { return nil, errOtherSystem }

// OOMKills is not supported on this system.
func (g *Group) OOMKills() (uint64, error) { return 0, errOtherSystem }

// Remove is not supported on this system.
func (g *Group) Remove() error { return errOtherSystem }

// Close does nothing.
func (g *Group) Close() error { return nil }

// A Watch tells what happens in a group. There is none on this system.
type Watch struct{}

// Watch is not supported on this system.
func (g *Group) Watch() (*Watch, error) { return nil, errOtherSystem }

// Next is not supported on this system.
func (w *Watch) Next(ctx context.Context) (Event, error) { return Event{}, errOtherSystem }

// Close does nothing.
func (w *Watch) Close() error { return nil }

// Delegation returns one whose Err says that there are no groups.
func (m *Manager) Delegation() *Delegation { return &Delegation{Err: errOtherSystem} }

// OpenScope is not supported on this system.
func OpenScope(ctx context.Context, o *ScopeOptions) (*Scope, error) { return nil, errOtherSystem }

// Update is not supported on this system.
func (s *Scope) Update(ctx context.Context, r *Resources) error { return errOtherSystem }

// CreateScope is not supported on this system.
func CreateScope(ctx context.Context, o *ScopeOptions) (*Scope, error) { return nil, errOtherSystem }

// Stop is not supported on this system.
func (s *Scope) Stop(ctx context.Context) error { return errOtherSystem }

// A Making is a group in the making. There is none on this system.
type Making struct{}

// Begin is not supported on this system.
func (m *Manager) Begin(path string, r *Resources) (*Making, error) { return nil, errOtherSystem }

// Paths is not supported on this system.
func (k *Making) Paths() []string { return nil }

// Entry is not supported on this system.
func (k *Making) Entry() (dir *os.File, tasks []string) { return nil, nil }

// Finish is not supported on this system.
func (k *Making) Finish() (*Group, error) { return nil, errOtherSystem }

// Abort is not supported on this system.
func (k *Making) Abort() {}
