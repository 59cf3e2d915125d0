//go:build !unix

package durable

import (
	"context"
	"errors"
	"os"
)

// A Lock is an advisory lock on a file.
type Lock struct{}

// File returns nil.
func (l *Lock) File() *os.File { return nil }

// Acquire returns errors.ErrUnsupported on this system.
func Acquire(context.Context, string, bool) (*Lock, error) { return nil, errors.ErrUnsupported }

// TryAcquire returns errors.ErrUnsupported on this system.
func TryAcquire(string, bool) (*Lock, bool, error) { return nil, false, errors.ErrUnsupported }

// TryAcquireDir returns errors.ErrUnsupported on this system.
func TryAcquireDir(string) (*Lock, bool, error) { return nil, false, errors.ErrUnsupported }

// Release does nothing.
func (l *Lock) Release() error { return nil }

// TryAgain returns errors.ErrUnsupported on this system.
func (l *Lock) TryAgain() (bool, error) { return false, errors.ErrUnsupported }

// Close does nothing.
func (l *Lock) Close() error { return nil }

// Remove does nothing.
func (l *Lock) Remove() error { return nil }

// SyncDir does nothing on this system.
func SyncDir(string) error { return nil }
