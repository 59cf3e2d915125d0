//go:build !linux

package namespace

import (
	"context"
	"os"
)

type keeper struct{}

// Adopt returns an error that satisfies errors.ErrUnsupported: the system is not Linux.
func Adopt(context.Context, string) (*Process, error) { return nil, unsupported("adopt") }

// Input returns an error that satisfies errors.ErrUnsupported.
func (p *Process) Input(context.Context) (*os.File, error) { return nil, unsupported("input") }

// CloseInput returns an error that satisfies errors.ErrUnsupported.
func (p *Process) CloseInput(context.Context) error { return unsupported("close input") }

// Follow returns an error that satisfies errors.ErrUnsupported.
func (r *LogReader) Follow(context.Context) (*Frame, error) { return nil, unsupported("follow") }

// ContinueLog is for Linux only.
func ContinueLog(string) error { return unsupported("continue log") }
