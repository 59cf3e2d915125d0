//go:build !linux

package namespace

import (
	"context"
	"os"
	"syscall"
)

// Receive returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func (l *SeccompListener) Receive(context.Context) (*SeccompCall, error) {
	return nil, unsupported("receive")
}

// Send returns an error that satisfies errors.ErrUnsupported.
func (l *SeccompListener) Send(context.Context, string, []byte) error { return unsupported("send") }

// File returns nil.
func (l *SeccompListener) File() *os.File { return nil }

// Close does nothing.
func (l *SeccompListener) Close() error { return nil }

// Err returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) Err() error { return unsupported("ask") }

// Return returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) Return(int64) error { return unsupported("answer") }

// Fail returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) Fail(syscall.Errno) error { return unsupported("answer") }

// Continue returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) Continue() error { return unsupported("answer") }

// AddFile returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) AddFile(*os.File, *AddFileOptions) (int, error) {
	return -1, unsupported("add file")
}

// ReturnFile returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) ReturnFile(*os.File, *AddFileOptions) error { return unsupported("answer") }

// ReadMemory returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) ReadMemory([]byte, uint64) (int, error) { return 0, unsupported("read memory") }

// ReadString returns an error that satisfies errors.ErrUnsupported.
func (c *SeccompCall) ReadString(uint64, int) (string, error) { return "", unsupported("read memory") }
