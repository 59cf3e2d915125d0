package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/caisson-engine/caisson/container"
)

// An Error is what an engine's call returns when a name, a state or an argument is wrong, rather than the machine.
// Is reports fs.ErrNotExist for [NotFound], fs.ErrExist for [Conflict] and fs.ErrInvalid for [Invalid].
type Error struct {
	Kind    Kind
	Message string
	Err     error // the cause, or nil
}

// A Kind sorts errors, as the status of a web server's answer does.
type Kind int

// The kinds of errors.
const (
	Invalid  Kind = iota + 1 // the argument can never be right
	NotFound                 // there is no such container, image or volume
	Conflict                 // it is in use, or in a state that does not allow it
)

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is compares kinds with the errors of package fs.
func (e *Error) Is(target error) bool {
	switch e.Kind {
	case NotFound:
		return target == fs.ErrNotExist
	case Conflict:
		return target == fs.ErrExist
	case Invalid:
		return target == fs.ErrInvalid
	}
	return false
}

func invalid(format string, args ...any) error {
	return &Error{Kind: Invalid, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &Error{Kind: NotFound, Message: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &Error{Kind: Conflict, Message: fmt.Sprintf(format, args...)}
}

// ExitCode returns the exit status with which a command line ends after a run that returned err, as Docker's does: the
// command's own; 128 and the signal's number; 127 for a command that was not found, 126 for one that cannot be executed;
// 125 for every other error.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *container.ExitError
	if errors.As(err, &exit) {
		return stateCode(exit.State)
	}
	var start *container.StartError
	if errors.As(err, &start) && strings.HasPrefix(start.Step, "exec") {
		switch {
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
			return 127
		default:
			return 126
		}
	}
	return 125
}

// ExecExitCode is [ExitCode] of an err that kept a command from being executed in a container that runs. There Docker has no 125: the status
// is 127 if something is not there, be it the working directory, and 126 for everything else, such as a user whom the container
// does not know.
func ExecExitCode(err error) int {
	code := ExitCode(err)
	switch {
	case code != 125:
		return code
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return 127
	}
	return 126
}

func stateCode(s *container.State) int {
	if s.Signal != 0 {
		return 128 + int(s.Signal)
	}
	return s.Code
}
