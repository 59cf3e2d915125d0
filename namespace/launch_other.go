//go:build !linux

package namespace

import (
	"context"
	"errors"
	"os"
	"syscall"
)

func unsupported(step string) error { return &StartError{Step: step, Err: errors.ErrUnsupported} }

// Program returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *Launch) Program() (*Program, error) { return nil, unsupported("compile") }

// Start returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *Launch) Start(context.Context) (*Process, error) { return nil, unsupported("start") }

// A Process is a started process. There is none on this system.
type Process struct{}

// Pid returns 0.
func (p *Process) Pid() int { return 0 }

// PidFD returns nil.
func (p *Process) PidFD() *os.File { return nil }

// TTY returns nil.
func (p *Process) TTY() *os.File { return nil }

// Close does nothing.
func (p *Process) Close() error { return nil }

// Signal returns an error that satisfies errors.ErrUnsupported.
func (p *Process) Signal(syscall.Signal) error { return unsupported("signal") }

// SettingUp returns false.
func (p *Process) SettingUp() bool { return false }

// AwaitSetUp returns an error that satisfies errors.ErrUnsupported.
func (p *Process) AwaitSetUp(context.Context) error { return unsupported("await") }

// AwaitSettingUp returns an error that satisfies errors.ErrUnsupported.
func (p *Process) AwaitSettingUp(context.Context) error { return unsupported("await") }

// KillGroup returns an error that satisfies errors.ErrUnsupported.
func (p *Process) KillGroup() error { return unsupported("kill group") }

// Wait returns an error that satisfies errors.ErrUnsupported.
func (p *Process) Wait(context.Context) (*State, error) { return nil, unsupported("wait") }

// AwaitEnd returns an error that satisfies errors.ErrUnsupported.
func (p *Process) AwaitEnd(context.Context) error { return unsupported("await") }
