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

// A Share is for Linux only.
type Share struct{}

// NewShare returns an error that satisfies errors.ErrUnsupported.
func NewShare(*Keep) (*Share, error) { return nil, unsupported("share") }

// Input returns an error that satisfies errors.ErrUnsupported.
func (s *Share) Input(*os.File) error { return unsupported("input") }

// CloseInput does nothing.
func (s *Share) CloseInput() {}

// Serve does nothing.
func (s *Share) Serve(*Process) {}

// End does nothing.
func (s *Share) End(*State) error { return nil }

// Abort does nothing.
func (s *Share) Abort() {}

func (s *Share) write(Stream, []byte) {}
