//go:build !linux

package ocistate

import (
	"context"
	"errors"
	"syscall"
)

// Signal returns errors.ErrUnsupported on this system.
func (s *State) Signal(syscall.Signal) error { return errors.ErrUnsupported }

// Wait returns errors.ErrUnsupported on this system.
func (s *State) Wait(context.Context) error { return errors.ErrUnsupported }
