//go:build !amd64 && !arm64

package sigpipe

import (
	"errors"
	"syscall"
)

// A Pipe is where the signals come out.
type Pipe struct{}

// Catch returns errors.ErrUnsupported: containers cannot be started on this machine either.
func Catch() (*Pipe, error) { return nil, errors.ErrUnsupported }

// Next returns false.
func (p *Pipe) Next() (syscall.Signal, bool) { return 0, false }

// Close does nothing.
func (p *Pipe) Close() {}
