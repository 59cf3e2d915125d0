package cgroups

import (
	"errors"
	"io/fs"
)

// A Mode is the layout of control groups on a host.
type Mode int

// The layouts. On a hybrid host the controllers are v1's and the unified hierarchy is mounted beside them, usually
// without controllers.
const (
	V1 Mode = iota + 1
	Hybrid
	V2
)

// String returns "v1", "hybrid" or "v2".
func (m Mode) String() string {
	switch m {
	case V1:
		return "v1"
	case Hybrid:
		return "hybrid"
	case V2:
		return "v2"
	}
	return "none"
}

// sentinel is an error that also satisfies errors.Is for another, more general one.
type sentinel struct {
	text string
	is   error
}

func (s *sentinel) Error() string { return s.text }

func (s *sentinel) Is(target error) bool { return target == s.is }

var (
	// ErrNotMounted is returned by Detect when no control groups that the program could use are mounted. It satisfies
	// errors.ErrUnsupported.
	ErrNotMounted error = &sentinel{"no usable cgroup file system is mounted", errors.ErrUnsupported}

	// ErrNotDelegated is returned when the program may not make groups or set limits where it wants to: it is not root
	// and nobody delegated a group to it, or the file system is mounted read-only. It satisfies fs.ErrPermission.
	ErrNotDelegated error = &sentinel{"the group is not delegated to this program", fs.ErrPermission}

	// ErrParentBusy is returned on v2 when a parent has processes of its own, so that its controllers cannot be handed
	// to groups below it (the "no internal processes" rule). Create the group at an absolute path below a parent
	// without processes, or move them with [Manager.Evacuate].
	ErrParentBusy = errors.New("the parent group has processes of its own")

	// ErrBusy is returned by Remove when processes still run in the group, and by Update when a memory limit is below
	// what the group uses and cannot give back.
	ErrBusy = errors.New("the group is in use")
)
