package container

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
)

// ErrWaitDelay is returned by Wait and its kin if the command ended with success but its pipes were still open in other
// processes when WaitDelay had passed.
var ErrWaitDelay = errors.New("container: WaitDelay expired before I/O complete")

// A State says how a command ended and what it used.
type State struct {
	// Code is the exit status, or -1 if a signal ended the command.
	Code int
	// Signal is the signal that ended the command, or 0.
	Signal syscall.Signal
	// CoreDumped says that the kernel wrote a core dump.
	CoreDumped bool
	// OOMKilled says that the kernel's OOM killer killed a process in the container because of the container's limit,
	// of one on a group above, or of the machine's memory. Of a Command it is said if that happened while the command
	// ran and SIGKILL ended it: the command was killed itself, or with the container's first process, or with all
	// others (cgroups.Resources.OOMGroup).
	OOMKilled bool

	// Started and Ended are when the command was executed and when its end was seen.
	Started, Ended time.Time
	// UserTime and SystemTime are the time on processors of the command and of the children it waited for.
	UserTime, SystemTime time.Duration
	// MaxRSS is the largest resident set of any one of those processes, in bytes.
	MaxRSS int64
	// Cgroup is what the whole container used, read when its command had ended: peak of memory, time on processors,
	// pressure, and what else [cgroups.Group.Totals] reads. Nil for a Command, and with NoCgroup.
	Cgroup *cgroups.Stats
}

// Success says that the exit status is 0.
func (s *State) Success() bool { return s.Code == 0 }

// String returns "exit status 3" or "signal: killed", with what is to be known besides.
func (s *State) String() string {
	text := fmt.Sprintf("exit status %d", s.Code)
	if s.Signal != 0 {
		text = "signal: " + s.Signal.String()
	}
	if s.CoreDumped {
		text += " (core dumped)"
	}
	if s.OOMKilled {
		text += " (out of memory)"
	}
	return text
}

// An ExitError says that a command ran, and ended without success.
type ExitError struct {
	// State says how. Its fields, Code, Signal and OOMKilled among them, are those of the error too.
	*State
	// Stderr holds the standard error that Output collected because Process.Stderr was nil: if it is long, its first
	// and last 32 KiB.
	Stderr []byte
	// Cause is the error of Run's context, if that was why the command was stopped.
	Cause error
}

func (e *ExitError) Error() string {
	if e.Cause != nil {
		return e.State.String() + ": " + e.Cause.Error()
	}
	return e.State.String()
}

// Unwrap returns the Cause.
func (e *ExitError) Unwrap() error { return e.Cause }
