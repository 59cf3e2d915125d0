//go:build !linux

package namespace

import (
	"errors"
	"os"
)

// ReadFile returns errors.ErrUnsupported on this system.
func (r *Root) ReadFile(string, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

// OpenFolder returns errors.ErrUnsupported on this system.
func (r *Root) OpenFolder(string) (*os.File, error) { return nil, errors.ErrUnsupported }

// MkdirAll returns errors.ErrUnsupported on this system.
func (r *Root) MkdirAll(string, os.FileMode) error { return errors.ErrUnsupported }

// Touch returns errors.ErrUnsupported on this system.
func (r *Root) Touch(string) error { return errors.ErrUnsupported }

// AddUser returns errors.ErrUnsupported on this system.
func (r *Root) AddUser(*User) error { return errors.ErrUnsupported }

// MakeTarget returns errors.ErrUnsupported on this system.
func (r *Root) MakeTarget(string, bool) error { return errors.ErrUnsupported }

func (r *Root) userFile(string) ([]byte, error) { return nil, errors.ErrUnsupported }

// Owner returns no one on this system.
func (r *Root) Owner() (uid uint32, ok bool) { return 0, false }
