//go:build !linux

package ocistate

import (
	"context"
	"errors"
)

// Wait returns errors.ErrUnsupported on this system.
func (s *State) Wait(context.Context) error { return errors.ErrUnsupported }
