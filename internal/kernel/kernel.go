// Package kernel asks the running kernel what it can do. Versions are not compared, since distributions carry features
// back and sandboxes take them away: each feature is tried, once.
package kernel

import (
	"errors"
	"fmt"
	"sync"
)

// A Feature is something that a kernel may lack.
type Feature struct {
	// Name is what the feature is called, a system call or a flag of one.
	Name string
	// Since is the first kernel that has it, "5.12".
	Since string
	// Probe tries it. Nil says that the kernel has it, errors.ErrUnsupported that it has not; any other error that this
	// cannot be said, and the next caller tries again.
	Probe func() error

	mu      sync.Mutex
	decided bool
	err     error
}

// Err returns nil if the kernel has the feature; otherwise an error that names it and satisfies errors.ErrUnsupported,
// or what kept the probe from an answer.
func (f *Feature) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.decided {
		return f.err
	}
	err := f.Probe()
	switch {
	case err == nil:
		f.decided = true
	case errors.Is(err, errors.ErrUnsupported):
		f.decided, f.err = true, fmt.Errorf("%s needs Linux %s: %w", f.Name, f.Since, errors.ErrUnsupported)
	default:
		return fmt.Errorf("probe %s: %w", f.Name, err)
	}
	return f.err
}
